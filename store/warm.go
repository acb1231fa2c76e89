package store

import (
	"database/sql"
	"encoding/json"
	"time"

	"github.com/clade-vm/clade"
)

// Warm returns all warm templates, oldest first, with the count of their clones.
func (tx *Tx) Warm() ([]*clade.Warm, error) {
	var list []*clade.Warm
	byID := make(map[string]*clade.Warm)
	err := tx.all(func(rows *sql.Rows) error {
		var w clade.Warm
		var name, version sql.NullString
		var texts [3][]byte
		var created int64
		if err := rows.Scan(&w.ID, &name, &version, &w.After, &texts[0], &texts[1], &texts[2], &created, &w.Clones); err != nil {
			return err
		}
		w.Template = clade.Ref{Name: clade.Name(name.String), Version: version.String}
		w.Created = time.Unix(0, created).UTC()
		list, byID[w.ID] = append(list, &w), &w
		for i, into := range []any{&w.Hardware, &w.Bound, &w.Files} {
			if err := json.Unmarshal(texts[i], into); err != nil {
				return err
			}
		}
		return nil
	}, `SELECT id, name, version, after, hardware, bound, files, created,
	    (SELECT count(*) FROM machines WHERE machines.warm = warm.id) FROM warm ORDER BY created, id`)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	err = tx.all(func(rows *sql.Rows) error {
		var id string
		var d clade.TemplateDisk
		err := rows.Scan(&id, &d.Slot, &d.Layer, &d.Virtual, &d.Label, &d.Mount)
		if w := byID[id]; w != nil {
			w.Disks = append(w.Disks, d)
		}
		return err
	}, "SELECT warm, slot, layer, virtual, label, mount FROM warm_disks ORDER BY warm, slot")
	if err != nil {
		return nil, err // half of what a record says is not a record
	}
	return list, nil
}

// AddWarm records a warm template. One that its template has already gives the
// name up. Kind InUse where a layer, or the template, is gone.
func (tx *Tx) AddWarm(w *clade.Warm) error {
	if err := tx.DetachWarm(w.Template); err != nil {
		return err
	}
	var texts [3]string
	for i, from := range []any{w.Hardware, w.Bound, w.Files} {
		text, err := json.Marshal(from)
		if err != nil {
			return err
		}
		texts[i] = string(text)
	}
	_, err := tx.exec("INSERT INTO warm (id, name, version, after, hardware, bound, files, created) VALUES (?,?,?,?,?,?,?,?)",
		w.ID, string(w.Template.Name), w.Template.Version, w.After, texts[0], texts[1], texts[2], w.Created.UnixNano())
	if err != nil {
		return explain("warm", "template "+w.Template.String(), err)
	}
	for _, d := range w.Disks {
		if _, err := tx.exec("INSERT INTO warm_disks (warm, slot, layer, virtual, label, mount) VALUES (?,?,?,?,?,?)",
			w.ID, d.Slot, d.Layer, int64(d.Virtual), d.Label, d.Mount); err != nil {
			return explain("warm", "template "+w.Template.String(), err)
		}
	}
	return nil
}

// DetachWarm takes the name from a template's warm template, if it has one.
func (tx *Tx) DetachWarm(ref clade.Ref) error {
	_, err := tx.exec("UPDATE warm SET name = NULL, version = NULL WHERE name = ? AND version = ?", string(ref.Name), ref.Version)
	return err
}

// RemoveUnusedWarm deletes the records of warm templates that have no name and no
// clones. A machine that is no instant clone any more, as one that was rebased, and
// has no snapshot of when it was one, never goes back to its warm template.
func (tx *Tx) RemoveUnusedWarm() error {
	_, err := tx.exec(`UPDATE machines SET warm = NULL, asleep = 0 WHERE warm IS NOT NULL AND clone <> ?
		AND NOT EXISTS (SELECT 1 FROM snapshots WHERE machine = machines.id AND snapshots.clone = ?)`, string(clade.Instant), string(clade.Instant))
	if err != nil {
		return err
	}
	_, err = tx.exec("DELETE FROM warm WHERE name IS NULL AND NOT EXISTS (SELECT 1 FROM machines WHERE machines.warm = warm.id)")
	return err
}

// VerifyWarm records anew what proves the files of a warm template.
func (tx *Tx) VerifyWarm(id string, files []clade.WarmFile) error {
	text, err := json.Marshal(files)
	if err != nil {
		return err
	}
	_, err = tx.exec("UPDATE warm SET files = ? WHERE id = ?", string(text), id)
	return err
}

// AddDraws records what the kernel of an instant clone drew. Kind Exists where any
// other one drew the same.
func (tx *Tx) AddDraws(warm string, draws []string) error {
	for _, draw := range draws {
		if _, err := tx.exec("INSERT INTO draws (draw, warm) VALUES (?,?)", draw, warm); err != nil {
			return err
		}
	}
	return nil
}

// Woke records that an instant clone is awake, and who it is now.
func (tx *Tx) Woke(machine, machineID string) error {
	_, err := tx.exec("UPDATE machines SET asleep = 0, machine_id = ? WHERE id = ?", machineID, machine)
	return err
}

// Asleep returns the machines that are asleep.
func (tx *Tx) Asleep() ([]*Machine, error) { return tx.machines("WHERE asleep = 1") }

// SetAsleep records whether the machine's next start resumes it from its warm
// template, which it must have for that.
func (tx *Tx) SetAsleep(machine string, asleep bool) error {
	_, err := tx.exec("UPDATE machines SET asleep = ? WHERE id = ?", asleep, machine)
	return err
}

// LeaveWarm records that the machine never goes back to its warm template.
func (tx *Tx) LeaveWarm(machine string) error {
	_, err := tx.exec("UPDATE machines SET warm = NULL, asleep = 0 WHERE id = ?", machine)
	return err
}
