-- What of the log is in its archive: see `archive/shelf.rs` for what each column means.

CREATE TABLE segments (
    epoch INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    manifest BLOB NOT NULL,
    frontier BLOB NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    least_id TEXT NOT NULL,
    greatest_id TEXT NOT NULL,
    PRIMARY KEY (epoch, segment)
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_by_id ON segments (least_id, greatest_id);

CREATE TABLE pruned (
    epoch INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    leaves INTEGER NOT NULL,
    expired INTEGER NOT NULL
) STRICT;

CREATE TRIGGER segments_are_added_at_the_end BEFORE INSERT ON segments
WHEN NEW.segment != (SELECT count(*) FROM segments WHERE epoch = NEW.epoch)
BEGIN
    SELECT RAISE(ABORT, 'the archive of the audit log only grows');
END;

CREATE TRIGGER segments_are_not_changed BEFORE UPDATE ON segments
BEGIN
    SELECT RAISE(ABORT, 'the archive of the audit log only grows');
END;

CREATE TRIGGER segments_are_not_removed BEFORE DELETE ON segments
BEGIN
    SELECT RAISE(ABORT, 'the archive of the audit log only grows');
END;

CREATE TRIGGER pruned_begins_where_the_epoch_does BEFORE INSERT ON pruned
WHEN NEW.leaves != 0 OR NEW.expired != 0 OR NEW.first IS NOT (SELECT first FROM epochs WHERE epoch = NEW.epoch)
BEGIN
    SELECT RAISE(ABORT, 'only what is in the archive may go');
END;

CREATE TRIGGER pruned_is_in_the_archive BEFORE UPDATE ON pruned
WHEN NEW.epoch != OLD.epoch OR NEW.first != OLD.first OR NEW.leaves < OLD.leaves OR NEW.expired < OLD.expired
    OR NEW.leaves > 65536 * (SELECT count(*) FROM segments WHERE epoch = NEW.epoch) OR NEW.expired * 65536 > NEW.leaves
BEGIN
    SELECT RAISE(ABORT, 'only what is in the archive may go');
END;

CREATE TRIGGER pruned_is_not_taken_back BEFORE DELETE ON pruned
BEGIN
    SELECT RAISE(ABORT, 'only what is in the archive may go');
END;

DROP TRIGGER records_are_not_removed;
CREATE TRIGGER records_are_not_removed BEFORE DELETE ON records
WHEN NOT EXISTS (SELECT 1 FROM pruned WHERE OLD.sequence >= first AND OLD.sequence < first + leaves)
BEGIN
    SELECT RAISE(ABORT, 'the audit log only grows');
END;
