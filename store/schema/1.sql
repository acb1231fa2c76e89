CREATE TABLE networks (
    name    TEXT PRIMARY KEY,
    subnet  TEXT NOT NULL UNIQUE,
    nat     INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- A layer without "sealed" is being frozen: see docs/architecture.md, crash rules.
CREATE TABLE layers (
    id          TEXT PRIMARY KEY,
    parent      TEXT REFERENCES layers(id) ON DELETE RESTRICT,
    origin      TEXT NOT NULL,
    digest      TEXT NOT NULL,
    virtual     INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    allocated   INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    modified    INTEGER NOT NULL,
    changed     INTEGER NOT NULL,
    sealed      INTEGER NOT NULL,
    attestation BLOB,
    created     INTEGER NOT NULL
) STRICT;
CREATE INDEX layers_parent ON layers(parent);

CREATE TABLE machines (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    clone       TEXT NOT NULL,
    source      TEXT NOT NULL,
    uuid        TEXT NOT NULL UNIQUE,
    mac         TEXT UNIQUE,
    ip          BLOB,
    hostname    TEXT NOT NULL,
    instance_id TEXT NOT NULL UNIQUE,
    network     TEXT NOT NULL,
    hardware    TEXT NOT NULL,
    user        TEXT NOT NULL,
    user_data   BLOB,
    ssh_keys    TEXT NOT NULL,
    machine_id  TEXT NOT NULL, -- as last read in the guest; "" where it is not known
    created     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX machines_ip ON machines(network, ip) WHERE ip IS NOT NULL;
CREATE UNIQUE INDEX machines_hostname ON machines(network, hostname) WHERE network <> '';

CREATE TABLE disks (
    machine TEXT NOT NULL REFERENCES machines(id) ON DELETE CASCADE,
    slot    INTEGER NOT NULL,
    serial  TEXT NOT NULL UNIQUE,
    head    TEXT NOT NULL,
    layer   TEXT REFERENCES layers(id) ON DELETE RESTRICT,
    base    TEXT, -- the layer the clone was made on, to which a reset goes back; it lies at or below "layer"
    virtual INTEGER NOT NULL,
    PRIMARY KEY (machine, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX disks_layer ON disks(layer);

-- What a machine's disks rested on at one moment, and what the machine was then.
CREATE TABLE snapshots (
    machine TEXT NOT NULL REFERENCES machines(id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    clone   TEXT NOT NULL,
    source  TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (machine, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshot_disks (
    machine TEXT NOT NULL,
    name    TEXT NOT NULL,
    slot    INTEGER NOT NULL,
    layer   TEXT NOT NULL REFERENCES layers(id) ON DELETE RESTRICT,
    base    TEXT,
    virtual INTEGER NOT NULL,
    PRIMARY KEY (machine, name, slot),
    FOREIGN KEY (machine, name) REFERENCES snapshots(machine, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_disks_layer ON snapshot_disks(layer);

CREATE TABLE templates (
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,
    source      TEXT NOT NULL,
    user        TEXT NOT NULL,
    hardware    TEXT NOT NULL,
    generalized INTEGER NOT NULL,
    attestation BLOB,
    created     INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE template_disks (
    name    TEXT NOT NULL,
    version TEXT NOT NULL,
    slot    INTEGER NOT NULL,
    layer   TEXT NOT NULL REFERENCES layers(id) ON DELETE RESTRICT,
    virtual INTEGER NOT NULL,
    PRIMARY KEY (name, version, slot),
    FOREIGN KEY (name, version) REFERENCES templates(name, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX template_disks_layer ON template_disks(layer);
