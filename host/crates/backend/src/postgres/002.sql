-- What hosts over one state agree by.

-- The hosts of the fleet: what each said of itself last.
CREATE TABLE plinth.hosts (
    id text PRIMARY KEY,
    name text NOT NULL,
    ready boolean NOT NULL,
    -- Everything up to it is what the host serves.
    generation bigint NOT NULL,
    note text,
    seen timestamptz NOT NULL
);

-- Changes that are being agreed on: one per plugin at a time.
CREATE TABLE plinth.proposals (
    id text PRIMARY KEY,
    plugin text NOT NULL UNIQUE,
    host text NOT NULL,
    -- Of the component, which is kept for as long as the proposal is open.
    digest text NOT NULL,
    slot text NOT NULL,
    expects bigint NOT NULL
);

CREATE TABLE plinth.votes (
    proposal text NOT NULL REFERENCES plinth.proposals (id) ON DELETE CASCADE,
    host text NOT NULL,
    -- The reason; null says yes.
    veto text,
    PRIMARY KEY (proposal, host)
);
