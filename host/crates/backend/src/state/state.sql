-- What a host must remember to come back as it was.

CREATE TABLE slots (plugin TEXT PRIMARY KEY, slot TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- One row: the highest generation ever, whatever became of its slot.
CREATE TABLE generation (highest INTEGER NOT NULL) STRICT;
INSERT INTO generation VALUES (0);

CREATE TABLE components (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;

CREATE TABLE runs (
    plugin TEXT NOT NULL,
    job TEXT NOT NULL,
    run_id TEXT NOT NULL,
    lease_ms INTEGER NOT NULL,
    finished_ms INTEGER,
    success INTEGER,
    PRIMARY KEY (plugin, job, run_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX successes ON runs (plugin, job, finished_ms) WHERE success = 1;
