-- Whose word a template's attestation is, where it was taken without a proof in this home; else "".
ALTER TABLE templates ADD COLUMN believed TEXT NOT NULL DEFAULT '';
