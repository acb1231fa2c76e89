package store

import (
	"database/sql"
	"time"

	"github.com/clade-vm/clade"
)

// Layers returns all layers, oldest first.
func (tx *Tx) Layers() ([]*clade.Layer, error) {
	var list []*clade.Layer
	err := tx.all(func(rows *sql.Rows) error {
		var l clade.Layer
		var parent sql.NullString
		var created, verified int64
		var attestation []byte
		err := rows.Scan(&l.ID, &parent, &l.Origin, &l.Digest, &l.Virtual, &l.Size, &l.Allocated, &l.Inode, &l.Modified, &l.Changed, &l.Sealed, &attestation, &verified, &created, &l.Verity)
		l.Attestation = attestation
		if verified != 0 {
			l.Verified = time.Unix(0, verified).UTC()
		}
		l.Parent, l.Created = parent.String, time.Unix(0, created).UTC()
		list = append(list, &l)
		return err
	}, `SELECT id, parent, origin, digest, virtual, size, allocated, inode, modified, changed, sealed, attestation, verified, created, verity
	    FROM layers ORDER BY created, id`)
	return list, err
}

// AddLayer records a layer, sealed or about to be. Kind InUse where its parent is gone.
func (tx *Tx) AddLayer(l *clade.Layer) error {
	_, err := tx.exec(`INSERT INTO layers (id, parent, origin, digest, virtual, size, allocated, inode, modified, changed, sealed, attestation, created, verity)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`, l.ID, null(l.Parent), l.Origin, l.Digest, int64(l.Virtual), int64(l.Size), int64(l.Allocated),
		int64(l.Inode), l.Modified, l.Changed, l.Sealed, []byte(l.Attestation), l.Created.UnixNano(), l.Verity)
	return err
}

// SealLayer records what proves a layer: its digest and the facts of its file.
func (tx *Tx) SealLayer(l *clade.Layer) error {
	_, err := tx.exec(`UPDATE layers SET digest = ?, size = ?, allocated = ?, inode = ?, modified = ?, changed = ?, verity = ?, sealed = 1 WHERE id = ?`,
		l.Digest, int64(l.Size), int64(l.Allocated), int64(l.Inode), l.Modified, l.Changed, l.Verity, l.ID)
	return err
}

// VerifyLayer records that the layer's content was read at that time and was right.
func (tx *Tx) VerifyLayer(id string, at time.Time) error {
	_, err := tx.exec("UPDATE layers SET verified = ? WHERE id = ?", at.UnixNano(), id)
	return err
}

// RemoveLayer deletes the record of a layer. Kind InUse while anything rests on it.
func (tx *Tx) RemoveLayer(id string) error {
	_, err := tx.exec("DELETE FROM layers WHERE id = ?", id)
	return err
}
