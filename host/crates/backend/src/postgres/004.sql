-- What of the audit log is in its archive: see `audit/archive/shelf.rs` for what each column means.

CREATE TABLE plinth.audit_segments (
    epoch bigint NOT NULL,
    segment bigint NOT NULL,
    manifest bytea NOT NULL,
    frontier bytea NOT NULL,
    from_ms bigint NOT NULL,
    until_ms bigint NOT NULL,
    least_id text NOT NULL COLLATE "C",
    greatest_id text NOT NULL COLLATE "C",
    PRIMARY KEY (epoch, segment)
);
CREATE INDEX audit_segments_by_id ON plinth.audit_segments (least_id, greatest_id);

CREATE TABLE plinth.audit_pruned (
    epoch bigint PRIMARY KEY,
    first bigint NOT NULL,
    leaves bigint NOT NULL,
    expired bigint NOT NULL
);

-- One row: which host writes to the archive, and until when nobody else may.
CREATE TABLE plinth.audit_archive_turn (holder text NOT NULL, until timestamptz NOT NULL);
INSERT INTO plinth.audit_archive_turn VALUES ('', '-infinity');

CREATE FUNCTION plinth.audit_archive_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the archive of the audit log only grows';
END $$;
CREATE TRIGGER audit_segments_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON plinth.audit_segments
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_archive_only_grows();
CREATE TRIGGER audit_pruned_stays BEFORE DELETE OR TRUNCATE ON plinth.audit_pruned
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_archive_only_grows();

CREATE FUNCTION plinth.audit_segment_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.segment <> (SELECT count(*) FROM plinth.audit_segments s WHERE s.epoch = NEW.epoch) THEN
        RAISE EXCEPTION 'the archive of the audit log only grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_segments_are_added_at_the_end BEFORE INSERT ON plinth.audit_segments
FOR EACH ROW EXECUTE FUNCTION plinth.audit_segment_follows();

CREATE FUNCTION plinth.audit_pruned_is_archived() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        wrong := NEW.leaves <> 0 OR NEW.expired <> 0
            OR NEW.first IS DISTINCT FROM (SELECT e.first FROM plinth.audit_epochs e WHERE e.epoch = NEW.epoch);
    ELSE
        wrong := NEW.epoch <> OLD.epoch OR NEW.first <> OLD.first OR NEW.leaves < OLD.leaves OR NEW.expired < OLD.expired
            OR NEW.leaves > 65536 * (SELECT count(*) FROM plinth.audit_segments s WHERE s.epoch = NEW.epoch)
            OR NEW.expired * 65536 > NEW.leaves;
    END IF;
    IF wrong THEN
        RAISE EXCEPTION 'only what is in the archive may go';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_pruned_is_archived BEFORE INSERT OR UPDATE ON plinth.audit_pruned
FOR EACH ROW EXECUTE FUNCTION plinth.audit_pruned_is_archived();

-- Records that are in the archive may go, and no others.
DROP TRIGGER audit_is_not_changed ON plinth.audit;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR TRUNCATE ON plinth.audit
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_only_grows();
CREATE FUNCTION plinth.audit_goes_to_the_archive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM gone g
        WHERE NOT EXISTS (SELECT FROM plinth.audit_pruned p WHERE g.sequence >= p.first AND g.sequence < p.first + p.leaves)
    ) THEN
        RAISE EXCEPTION 'the audit log only grows';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_goes_to_the_archive AFTER DELETE ON plinth.audit REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_goes_to_the_archive();
