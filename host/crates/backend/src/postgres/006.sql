-- Persons' keys, wrapped with keys that are not in this database: see `audit/persons/store.rs`.

CREATE TABLE plinth.audit_persons (
    pseudonym text PRIMARY KEY COLLATE "C",
    key text NOT NULL,
    generation bigint NOT NULL,
    wrapped bytea NOT NULL
);
CREATE INDEX audit_persons_by_generation ON plinth.audit_persons (generation, pseudonym);

-- One row: by it a folder of keys is known to be the right one.
CREATE TABLE plinth.audit_person_keys (newest bigint NOT NULL, pepper bytea);
INSERT INTO plinth.audit_person_keys VALUES (0, NULL);
