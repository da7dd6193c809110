-- The Merkle trees over the audit log: see `audit/tree/store.rs` for what each column means.

CREATE TABLE plinth.audit_epochs (
    epoch bigint PRIMARY KEY,
    origin text NOT NULL UNIQUE,
    first bigint NOT NULL,
    size bigint NOT NULL DEFAULT 0,
    sealed bigint
);

CREATE TABLE plinth.audit_tiles (
    epoch bigint NOT NULL,
    level smallint NOT NULL,
    tile bigint NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (epoch, level, tile)
);
-- Hashes do not compress; trying would cost CPU.
ALTER TABLE plinth.audit_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE plinth.audit_checkpoints (
    epoch bigint NOT NULL,
    size bigint NOT NULL,
    note text NOT NULL,
    PRIMARY KEY (epoch, size)
);

CREATE FUNCTION plinth.audit_tree_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the tree of the audit log only grows';
END $$;
CREATE TRIGGER audit_epochs_only_grow BEFORE UPDATE ON plinth.audit_epochs FOR EACH ROW
WHEN (NEW.epoch <> OLD.epoch OR NEW.origin <> OLD.origin OR NEW.first <> OLD.first OR NEW.size < OLD.size OR OLD.sealed IS NOT NULL)
EXECUTE FUNCTION plinth.audit_tree_only_grows();
CREATE TRIGGER audit_tiles_only_grow BEFORE UPDATE ON plinth.audit_tiles FOR EACH ROW
WHEN (substr(NEW.hashes, 1, length(OLD.hashes)) <> OLD.hashes) EXECUTE FUNCTION plinth.audit_tree_only_grows();
CREATE TRIGGER audit_epochs_stay BEFORE DELETE OR TRUNCATE ON plinth.audit_epochs
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_tree_only_grows();
CREATE TRIGGER audit_tiles_stay BEFORE DELETE OR TRUNCATE ON plinth.audit_tiles
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_tree_only_grows();
CREATE TRIGGER audit_checkpoints_stay BEFORE DELETE OR TRUNCATE ON plinth.audit_checkpoints
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_tree_only_grows();
