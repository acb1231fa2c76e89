-- A warm template: the memory of a machine of a template at one moment. It has no
-- name any more once the template is gone, or was warmed again, and clones rest on it.
CREATE TABLE warm (
    id       TEXT PRIMARY KEY,
    name     TEXT,
    version  TEXT,
    after    TEXT NOT NULL,
    hardware TEXT NOT NULL,
    bound    TEXT NOT NULL, -- clade.Bound: what the memory can be resumed under
    files    TEXT NOT NULL, -- []clade.WarmFile: what proves them
    created  INTEGER NOT NULL,
    FOREIGN KEY (name, version) REFERENCES templates(name, version) ON DELETE SET NULL
) STRICT;
CREATE UNIQUE INDEX warm_template ON warm(name, version) WHERE name IS NOT NULL;

CREATE TABLE warm_disks (
    warm    TEXT NOT NULL REFERENCES warm(id) ON DELETE CASCADE,
    slot    INTEGER NOT NULL,
    layer   TEXT NOT NULL REFERENCES layers(id) ON DELETE RESTRICT,
    virtual INTEGER NOT NULL,
    label   TEXT NOT NULL,
    mount   TEXT NOT NULL,
    PRIMARY KEY (warm, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX warm_disks_layer ON warm_disks(layer);

-- What the kernels of instant clones drew when they woke: no two may be alike.
CREATE TABLE draws (
    draw TEXT PRIMARY KEY, -- a digest
    warm TEXT NOT NULL REFERENCES warm(id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX draws_warm ON draws(warm);

-- The warm template of an instant clone, and whether its next start resumes it.
ALTER TABLE machines ADD COLUMN warm TEXT REFERENCES warm(id) ON DELETE RESTRICT;
ALTER TABLE machines ADD COLUMN asleep INTEGER NOT NULL DEFAULT 0;
CREATE INDEX machines_warm ON machines(warm);
