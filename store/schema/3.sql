-- When the content of a layer was last read whole and was what was sealed; 0: not since.
ALTER TABLE layers ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
