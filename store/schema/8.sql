-- The memory that belongs to a snapshot (clade.SavedMemory); '' where it has none.
ALTER TABLE snapshots ADD COLUMN memory TEXT NOT NULL DEFAULT '';
