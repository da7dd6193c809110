-- Queues in one SQLite file.
--
-- A message has one state: 0 waits (ready once due_ms has come), 1 is delivered
-- and leased until lease_ms, 2 is a dead letter. The partial indexes hold only
-- the rows of one state, so that consuming never walks past what is not ready.

CREATE TABLE queues (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    max_attempts INTEGER NOT NULL,
    backoff_ms INTEGER NOT NULL,
    backoff_max_ms INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL,
    max_depth INTEGER NOT NULL,
    -- Messages in states 0 and 1; kept by triggers.
    depth INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE bindings (
    queue INTEGER NOT NULL REFERENCES queues (id),
    pattern TEXT NOT NULL,
    PRIMARY KEY (queue, pattern)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id names one message for ever, so a late token cannot settle another.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL REFERENCES queues (id),
    state INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),
    priority INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    lease_ms INTEGER,
    -- Deliveries that count, and all of them: the second number makes each delivery's token its own.
    attempts INTEGER NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    message_id TEXT NOT NULL,
    destination TEXT NOT NULL,
    content_type TEXT NOT NULL,
    headers TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    correlation_id TEXT,
    delay_ms INTEGER NOT NULL,
    enqueued_ms INTEGER NOT NULL,
    died_ms INTEGER,
    reason TEXT,
    last_error TEXT,
    -- Last, so that changing the columns before it leaves its pages alone.
    body BLOB NOT NULL
) STRICT;

CREATE INDEX waiting ON messages (queue, priority DESC, due_ms) WHERE state = 0;
CREATE INDEX expiring ON messages (queue, expires_ms) WHERE state = 0 AND expires_ms IS NOT NULL;
CREATE INDEX leased ON messages (queue, lease_ms) WHERE state = 1;
CREATE INDEX dead ON messages (queue, died_ms) WHERE state = 2;
CREATE INDEX dead_by_id ON messages (queue, message_id) WHERE state = 2;

-- Ids published within the window, oldest first by id.
CREATE TABLE message_ids (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    seen_ms INTEGER NOT NULL,
    UNIQUE (queue, message_id)
) STRICT;

-- Triggers rather than statements of our own: publishing stays one statement,
-- and a topic's copies are stored all or none.
CREATE TRIGGER full_queue_refuses BEFORE INSERT ON messages
WHEN (SELECT depth >= max_depth FROM queues WHERE id = NEW.queue)
BEGIN
    SELECT RAISE(ABORT, 'the queue is full');
END;

CREATE TRIGGER published AFTER INSERT ON messages
BEGIN
    UPDATE queues SET depth = depth + 1 WHERE id = NEW.queue;
    -- REPLACE gives a repeat after the window a new id, which keeps the order of age.
    INSERT OR REPLACE INTO message_ids (queue, message_id, seen_ms) VALUES (NEW.queue, NEW.message_id, NEW.enqueued_ms);
END;

CREATE TRIGGER forgotten AFTER DELETE ON messages WHEN OLD.state <> 2
BEGIN
    UPDATE queues SET depth = depth - 1 WHERE id = OLD.queue;
END;

CREATE TRIGGER died AFTER UPDATE OF state ON messages WHEN OLD.state <> 2 AND NEW.state = 2
BEGIN
    UPDATE queues SET depth = depth - 1 WHERE id = NEW.queue;
END;

CREATE TRIGGER replayed AFTER UPDATE OF state ON messages WHEN OLD.state = 2 AND NEW.state <> 2
BEGIN
    UPDATE queues SET depth = depth + 1 WHERE id = NEW.queue;
END;
