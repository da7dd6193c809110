-- The audit log in one SQLite file: rows are added at the end and never touched again.

CREATE TABLE records (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    recorded_at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    -- The record itself; the columns above only find it.
    bytes BLOB NOT NULL
) STRICT;

-- Each index ends with the sequence, as every index of a rowid table does, so
-- that a page of one condition is read in order without sorting.
CREATE INDEX records_by_time ON records (recorded_at_ms);
CREATE INDEX records_by_actor ON records (actor);
CREATE INDEX records_by_plugin ON records (plugin_id);
CREATE INDEX records_by_subject ON records (subject_kind, subject_id);
CREATE INDEX records_by_action ON records (action);
CREATE INDEX records_by_outcome ON records (outcome);

CREATE TRIGGER records_are_not_changed BEFORE UPDATE ON records
BEGIN
    SELECT RAISE(ABORT, 'the audit log only grows');
END;

CREATE TRIGGER records_are_not_removed BEFORE DELETE ON records
BEGIN
    SELECT RAISE(ABORT, 'the audit log only grows');
END;

-- INSERT OR REPLACE would remove a row without the trigger above.
CREATE TRIGGER records_are_added_at_the_end BEFORE INSERT ON records
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence) + 1, 0) FROM records) OR EXISTS (SELECT 1 FROM records WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the audit log only grows');
END;

-- One row: what cursors are signed with, so that only this log can have given them.
CREATE TABLE cursor_key (key BLOB NOT NULL) STRICT;
INSERT INTO cursor_key VALUES (randomblob(32));
