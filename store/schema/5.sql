ALTER TABLE networks ADD COLUMN isolated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN isolated INTEGER NOT NULL DEFAULT 0;

-- What is wanted of a pool. What its machines do is derived.
CREATE TABLE pools (
    name     TEXT PRIMARY KEY,
    spec     TEXT NOT NULL,    -- clade.PoolSpec
    earlier  TEXT NOT NULL,    -- the template before the last update; "" for none
    deadline INTEGER NOT NULL, -- when claimed machines are updated too; 0: when they are released
    faults   INTEGER NOT NULL, -- failures in a row
    retry    INTEGER NOT NULL, -- before which nothing is tried again
    reason   TEXT NOT NULL,    -- of the last failure
    created  INTEGER NOT NULL
) STRICT;

-- The machines of pools. A claimed one cannot be removed: claims refer to it.
CREATE TABLE members (
    machine TEXT PRIMARY KEY REFERENCES machines(id) ON DELETE CASCADE,
    pool    TEXT NOT NULL REFERENCES pools(name) ON DELETE RESTRICT,
    due     TEXT NOT NULL,    -- what must be done to it before anybody gets it; "" for nothing
    proven  TEXT NOT NULL,    -- the run in which its agent answered
    silent  INTEGER NOT NULL, -- since when it does not answer; 0: it does
    reason  TEXT NOT NULL
) STRICT;
CREATE INDEX members_pool ON members(pool);

CREATE TABLE claims (
    pool    TEXT NOT NULL REFERENCES pools(name) ON DELETE RESTRICT,
    person  TEXT NOT NULL,
    machine TEXT NOT NULL UNIQUE REFERENCES members(machine) ON DELETE RESTRICT,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL, -- by the wall clock; 0: never
    remains INTEGER NOT NULL, -- of its time, at "ticks" of the computer's run "boot"
    boot    TEXT NOT NULL,
    ticks   INTEGER NOT NULL,
    PRIMARY KEY (pool, person)
) STRICT, WITHOUT ROWID;
