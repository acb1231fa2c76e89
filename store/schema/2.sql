-- A disk with a label is a data disk; mount is where its file system lies in the guest.
ALTER TABLE disks ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE disks ADD COLUMN mount TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX disks_label ON disks(machine, label) WHERE label <> '';
ALTER TABLE template_disks ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE template_disks ADD COLUMN mount TEXT NOT NULL DEFAULT '';
ALTER TABLE snapshot_disks ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE snapshot_disks ADD COLUMN mount TEXT NOT NULL DEFAULT '';

-- What the kernel measured of a layer's file (fs-verity); '' where the file system cannot.
ALTER TABLE layers ADD COLUMN verity TEXT NOT NULL DEFAULT '';
