-- The audit log's table holds each record once, and nothing else: what finds records stands beside it, in stretches.

DROP INDEX plinth.audit_by_time, plinth.audit_by_actor, plinth.audit_by_plugin, plinth.audit_by_subject, plinth.audit_by_action,
    plinth.audit_by_outcome;
ALTER TABLE plinth.audit DROP COLUMN recorded_at_ms, DROP COLUMN actor, DROP COLUMN plugin_id, DROP COLUMN subject_kind,
    DROP COLUMN subject_id, DROP COLUMN action, DROP COLUMN outcome;
ALTER TABLE plinth.audit ALTER COLUMN id TYPE uuid USING replace(lower(id), 'urn:uuid:', '')::uuid;

-- What is said in a stretch of the log: see `audit/postgres/marks.rs` for what each column means.
CREATE TABLE plinth.audit_marks (
    stretch bigint PRIMARY KEY,
    from_ms bigint NOT NULL,
    until_ms bigint NOT NULL,
    seen_ms bigint NOT NULL,
    bits bytea
);
ALTER TABLE plinth.audit_marks ALTER COLUMN bits SET STORAGE PLAIN;
CREATE INDEX audit_marks_by_time ON plinth.audit_marks (seen_ms, stretch);
CREATE TRIGGER audit_marks_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON plinth.audit_marks
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_only_grows();

-- For records of which some are stored already, or come twice: one after the other. A new one has no `stored`.
DROP FUNCTION plinth.audit_append;
CREATE FUNCTION plinth.audit_append_each(ids uuid[], bodies bytea[]) RETURNS TABLE (place bigint, stored bytea) LANGUAGE plpgsql AS $$
DECLARE
    free bigint;
BEGIN
    SELECT e.next INTO free FROM plinth.audit_end e FOR UPDATE;
    FOR i IN 1 .. cardinality(ids) LOOP
        SELECT a.sequence, a.bytes INTO place, stored FROM plinth.audit a WHERE a.id = ids[i];
        IF NOT FOUND THEN
            place := free;
            INSERT INTO plinth.audit (sequence, id, bytes) VALUES (free, ids[i], bodies[i]);
            free := free + 1;
        END IF;
        RETURN NEXT;
    END LOOP;
    UPDATE plinth.audit_end SET next = free;
END $$;
