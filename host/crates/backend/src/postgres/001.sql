-- What hosts keep in PostgreSQL. Only the hosts' own role may touch the schema `plinth`.

-- One row: what this installation is known by, and the secrets it derives others from.
CREATE TABLE plinth.settings (
    install text NOT NULL,
    -- Passwords of the plugins' roles and tokens of the outbox are derived from it.
    secret bytea NOT NULL,
    -- Cursors of the audit log are signed with it.
    cursor_key bytea NOT NULL
);
INSERT INTO plinth.settings VALUES (
    left(replace(gen_random_uuid()::text, '-', ''), 8),
    decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'),
    decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
);

CREATE TABLE plinth.slots (plugin text PRIMARY KEY, active text NOT NULL, previous text, slot text NOT NULL);
CREATE TABLE plinth.generation (highest bigint NOT NULL);
INSERT INTO plinth.generation VALUES (0);
CREATE TABLE plinth.components (digest text PRIMARY KEY, bytes bytea NOT NULL);
-- Compiled code does not compress; trying would cost CPU.
ALTER TABLE plinth.components ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE plinth.runs (
    plugin text NOT NULL,
    job text NOT NULL,
    run_id text NOT NULL,
    lease_ms bigint NOT NULL,
    finished_ms bigint,
    success boolean,
    PRIMARY KEY (plugin, job, run_id)
);

-- The plugins' databases: a schema and two roles each, of which the reader only reads.
CREATE TABLE plinth.databases (
    name text PRIMARY KEY,
    schema text NOT NULL UNIQUE,
    writer text NOT NULL UNIQUE,
    reader text NOT NULL UNIQUE,
    -- Without it the writer's role cannot use the functions below.
    token text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What transactions left for queue and audit log; rows go once they are delivered.
CREATE TABLE plinth.outbox (
    sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane text NOT NULL COLLATE "C",
    database text NOT NULL,
    id text NOT NULL,
    head text NOT NULL,
    body bytea NOT NULL,
    delay_ms bigint NOT NULL,
    expires_ms bigint,
    committed_at_ms bigint NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX outbox_by_lane ON plinth.outbox (lane, sequence);

-- What can never be delivered, and why.
CREATE TABLE plinth.outbox_dead (
    sequence bigint PRIMARY KEY,
    lane text NOT NULL,
    database text NOT NULL,
    id text NOT NULL,
    head text NOT NULL,
    body bytea NOT NULL,
    reason text NOT NULL,
    died_at_ms bigint NOT NULL
);

-- The only way from a plugin's connection into the outbox. The role may call it;
-- the token is the host's, so that no statement of a plugin can.
CREATE SCHEMA _plinth_door;
CREATE FUNCTION _plinth_door.put(token text, lane text, id text, head text, body bytea, delay_ms bigint, expires_ms bigint)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    origin text;
    place bigint;
BEGIN
    SELECT d.name INTO origin FROM plinth.databases d WHERE d.writer = session_user AND d.token = put.token;
    IF origin IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'this is for the host';
    END IF;
    INSERT INTO plinth.outbox (lane, database, id, head, body, delay_ms, expires_ms)
    VALUES (put.lane, origin, put.id, put.head, put.body, put.delay_ms, put.expires_ms)
    RETURNING sequence INTO place;
    RETURN place;
END $$;
CREATE FUNCTION _plinth_door.stamp(token text, places bigint[], at_ms bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    origin text;
BEGIN
    SELECT d.name INTO origin FROM plinth.databases d WHERE d.writer = session_user AND d.token = stamp.token;
    IF origin IS NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'this is for the host';
    END IF;
    UPDATE plinth.outbox o SET committed_at_ms = at_ms WHERE o.sequence = ANY (places) AND o.database = origin;
END $$;
REVOKE ALL ON FUNCTION _plinth_door.put, _plinth_door.stamp FROM PUBLIC;

-- Which copy of a message is the one to deal with.
CREATE TABLE plinth.inbox (
    queue text NOT NULL,
    id text NOT NULL,
    copy text NOT NULL,
    renewed_ms bigint NOT NULL,
    PRIMARY KEY (queue, id)
);
CREATE INDEX inbox_by_age ON plinth.inbox (renewed_ms);

-- The audit log: rows are added at the end and never touched again.
CREATE TABLE plinth.audit (
    sequence bigint PRIMARY KEY,
    id text NOT NULL UNIQUE,
    recorded_at_ms bigint NOT NULL,
    actor text NOT NULL,
    plugin_id text NOT NULL,
    subject_kind text NOT NULL,
    subject_id text NOT NULL,
    action text NOT NULL COLLATE "C",
    outcome text NOT NULL,
    -- The record itself; the columns above only find it.
    bytes bytea NOT NULL
);
CREATE INDEX audit_by_time ON plinth.audit (recorded_at_ms, sequence);
CREATE INDEX audit_by_actor ON plinth.audit (actor, sequence);
CREATE INDEX audit_by_plugin ON plinth.audit (plugin_id, sequence);
CREATE INDEX audit_by_subject ON plinth.audit (subject_kind, subject_id, sequence);
CREATE INDEX audit_by_action ON plinth.audit (action, sequence);
CREATE INDEX audit_by_outcome ON plinth.audit (outcome, sequence);
-- One row: who holds it is the one that appends, so that sequences have no gaps.
CREATE TABLE plinth.audit_end (next bigint NOT NULL);
INSERT INTO plinth.audit_end VALUES (0);

CREATE FUNCTION plinth.audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log only grows';
END $$;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON plinth.audit
FOR EACH STATEMENT EXECUTE FUNCTION plinth.audit_only_grows();

-- One record after the other, so that a repeat within one call is one too. Each
-- statement sees what was committed before the end was locked.
CREATE FUNCTION plinth.audit_append(
    ids text[], times bigint[], actors text[], plugins text[], kinds text[], subjects text[], actions text[], outcomes text[], bodies bytea[]
) RETURNS TABLE (place bigint, at_ms bigint) LANGUAGE plpgsql AS $$
DECLARE
    free bigint;
BEGIN
    SELECT e.next INTO free FROM plinth.audit_end e FOR UPDATE;
    FOR i IN 1 .. cardinality(ids) LOOP
        SELECT a.sequence, a.recorded_at_ms INTO place, at_ms FROM plinth.audit a WHERE a.id = ids[i];
        IF NOT FOUND THEN
            place := free;
            at_ms := times[i];
            INSERT INTO plinth.audit (sequence, id, recorded_at_ms, actor, plugin_id, subject_kind, subject_id, action, outcome, bytes)
            VALUES (free, ids[i], times[i], actors[i], plugins[i], kinds[i], subjects[i], actions[i], outcomes[i], bodies[i]);
            free := free + 1;
        END IF;
        RETURN NEXT;
    END LOOP;
    UPDATE plinth.audit_end SET next = free;
END $$;

-- Plugins' roles get nothing from what every role may do. Where this role may
-- not say so, the operator has been asked for a database of its own.
DO $$ BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$;
DO $$ BEGIN
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
EXCEPTION WHEN insufficient_privilege OR invalid_schema_name THEN NULL;
END $$;
