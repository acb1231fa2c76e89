package store

import (
	"database/sql"
	"encoding/json"
	"time"

	"github.com/clade-vm/clade"
)

// Snapshots returns all snapshots, or those of one machine by its id, by machine
// and age, with the machine's name.
func (tx *Tx) Snapshots(machine string) ([]*clade.Snapshot, error) {
	type key struct{ machine, name string }
	var list []*clade.Snapshot
	byKey := make(map[key]*clade.Snapshot)
	where, args := "", []any(nil)
	if machine != "" {
		where, args = "WHERE s.machine = ?", []any{machine}
	}
	err := tx.all(func(rows *sql.Rows) error {
		var s clade.Snapshot
		var id string
		var created int64
		var memory []byte
		err := rows.Scan(&id, &s.Machine, &s.Name, &s.Clone, &s.Source, &created, &memory)
		if err == nil && len(memory) > 0 {
			err = json.Unmarshal(memory, &s.Memory)
		}
		s.Created = time.Unix(0, created).UTC()
		list, byKey[key{id, string(s.Name)}] = append(list, &s), &s
		return err
	}, "SELECT s.machine, m.name, s.name, s.clone, s.source, s.created, s.memory FROM snapshots s JOIN machines m ON m.id = s.machine "+
		where+" ORDER BY m.name, s.created, s.name", args...)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	err = tx.all(func(rows *sql.Rows) error {
		var k key
		var d clade.Disk
		var base sql.NullString
		err := rows.Scan(&k.machine, &k.name, &d.Slot, &d.Layer, &base, &d.Virtual, &d.Label, &d.Mount)
		d.Base = base.String
		if s := byKey[k]; s != nil {
			s.Disks = append(s.Disks, d)
		}
		return err
	}, "SELECT s.machine, s.name, s.slot, s.layer, s.base, s.virtual, s.label, s.mount FROM snapshot_disks s "+where+" ORDER BY s.machine, s.name, s.slot", args...)
	if err != nil {
		return nil, err // half of what a record says is not a record
	}
	return list, nil
}

// AddSnapshot records a snapshot of the machine with that id: its last one, also
// where the clock was set back since the one before. Kind Exists.
func (tx *Tx) AddSnapshot(machine string, s *clade.Snapshot) error {
	var memory []byte
	if s.Memory != nil {
		var err error
		if memory, err = json.Marshal(s.Memory); err != nil {
			return err
		}
	}
	_, err := tx.exec(`INSERT INTO snapshots (machine, name, clone, source, memory, created) VALUES (?,?,?,?,?,
			max(?, coalesce((SELECT max(created) + 1 FROM snapshots WHERE machine = ?), 0)))`,
		machine, string(s.Name), string(s.Clone), s.Source, string(memory), s.Created.UnixNano(), machine)
	if clade.KindOf(err) == clade.Exists {
		return &clade.Error{Op: "create", On: "snapshot " + string(s.Name) + " of machine " + string(s.Machine), Kind: clade.Exists,
			Hint: "choose another name, or remove it: clade snapshot rm " + string(s.Machine) + " " + string(s.Name)}
	}
	if err != nil {
		return err
	}
	for _, d := range s.Disks {
		if _, err := tx.exec("INSERT INTO snapshot_disks (machine, name, slot, layer, base, virtual, label, mount) VALUES (?,?,?,?,?,?,?,?)",
			machine, string(s.Name), d.Slot, d.Layer, null(d.Base), int64(d.Virtual), d.Label, d.Mount); err != nil {
			return err
		}
	}
	return nil
}

// SealMemory records anew what proves the memory of a snapshot.
func (tx *Tx) SealMemory(machine string, s *clade.Snapshot) error {
	text, err := json.Marshal(s.Memory)
	if err != nil {
		return err
	}
	_, err = tx.exec("UPDATE snapshots SET memory = ? WHERE machine = ? AND name = ?", string(text), machine, string(s.Name))
	return err
}

// RemoveSnapshot deletes the record of a snapshot; its layers stay.
func (tx *Tx) RemoveSnapshot(machine string, name clade.Name) error {
	_, err := tx.exec("DELETE FROM snapshots WHERE machine = ? AND name = ?", machine, string(name))
	return err
}
