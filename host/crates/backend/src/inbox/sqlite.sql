-- Which copy of a message owns its id.

CREATE TABLE claims (
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    copy TEXT NOT NULL,
    -- When its owner last claimed it.
    renewed_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX ages ON claims (renewed_ms);
