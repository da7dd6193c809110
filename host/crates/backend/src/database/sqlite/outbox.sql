-- What transactions left for queue and audit log; rows go once they are delivered.
CREATE TABLE IF NOT EXISTS _plinth_outbox (
    sequence INTEGER PRIMARY KEY,
    lane TEXT NOT NULL,
    id TEXT NOT NULL,
    head TEXT NOT NULL,
    body BLOB NOT NULL,
    delay_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    committed_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What can never be delivered, and why.
CREATE TABLE IF NOT EXISTS _plinth_outbox_dead (
    sequence INTEGER PRIMARY KEY,
    lane TEXT NOT NULL,
    id TEXT NOT NULL,
    head TEXT NOT NULL,
    body BLOB NOT NULL,
    reason TEXT NOT NULL,
    died_at_ms INTEGER NOT NULL
) STRICT;
