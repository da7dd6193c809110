-- The Merkle trees over the records: see `tree/store.rs` for what each column means.

CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    first INTEGER NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    sealed INTEGER
) STRICT;

CREATE TABLE tiles (
    epoch INTEGER NOT NULL,
    level INTEGER NOT NULL,
    tile INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (epoch, level, tile)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    epoch INTEGER NOT NULL,
    size INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (epoch, size)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER epochs_only_grow BEFORE UPDATE ON epochs
WHEN NEW.epoch != OLD.epoch OR NEW.origin != OLD.origin OR NEW.first != OLD.first OR NEW.size < OLD.size OR OLD.sealed IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'the tree of the audit log only grows');
END;

CREATE TRIGGER epochs_are_not_removed BEFORE DELETE ON epochs
BEGIN
    SELECT RAISE(ABORT, 'the tree of the audit log only grows');
END;

CREATE TRIGGER tiles_only_grow BEFORE UPDATE ON tiles
WHEN substr(NEW.hashes, 1, length(OLD.hashes)) != OLD.hashes
BEGIN
    SELECT RAISE(ABORT, 'the tree of the audit log only grows');
END;

CREATE TRIGGER tiles_are_not_removed BEFORE DELETE ON tiles
BEGIN
    SELECT RAISE(ABORT, 'the tree of the audit log only grows');
END;

CREATE TRIGGER checkpoints_are_not_removed BEFORE DELETE ON checkpoints
BEGIN
    SELECT RAISE(ABORT, 'what was signed stays');
END;
