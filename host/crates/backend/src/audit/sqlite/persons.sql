-- Persons' keys, wrapped with keys that are not in this file: see `persons/store.rs`.

CREATE TABLE persons (
    pseudonym TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    generation INTEGER NOT NULL,
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX persons_by_generation ON persons (generation, pseudonym);

-- One row: by it a folder of keys is known to be the right one.
CREATE TABLE person_keys (newest INTEGER NOT NULL, pepper BLOB) STRICT;
INSERT INTO person_keys VALUES (0, NULL);
