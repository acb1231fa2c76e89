package store

import (
	"database/sql"
	"encoding/json"
	"strconv"
	"time"

	"github.com/clade-vm/clade"
)

// Templates returns all templates by name, oldest version first, without the
// count of machines that rest on them.
func (tx *Tx) Templates() ([]*clade.Template, error) {
	var list []*clade.Template
	byRef := make(map[clade.Ref]*clade.Template)
	err := tx.all(func(rows *sql.Rows) error {
		var t clade.Template
		var hardware, attestation []byte
		var created int64
		if err := rows.Scan(&t.Name, &t.Version, &t.Source, &t.User, &hardware, &t.Generalized, &attestation, &t.Believed, &created); err != nil {
			return err
		}
		t.Attestation, t.Created = attestation, time.Unix(0, created).UTC()
		list, byRef[t.Ref()] = append(list, &t), &t
		return json.Unmarshal(hardware, &t.Hardware)
	}, "SELECT name, version, source, user, hardware, generalized, attestation, believed, created FROM templates ORDER BY name, created, version")
	if err != nil || len(list) == 0 {
		return nil, err
	}
	err = tx.all(func(rows *sql.Rows) error {
		var ref clade.Ref
		var d clade.TemplateDisk
		err := rows.Scan(&ref.Name, &ref.Version, &d.Slot, &d.Layer, &d.Virtual, &d.Label, &d.Mount)
		if t := byRef[ref]; t != nil {
			t.Disks = append(t.Disks, d)
		}
		return err
	}, "SELECT name, version, slot, layer, virtual, label, mount FROM template_disks ORDER BY name, version, slot")
	if err != nil {
		return nil, err // half of what a record says is not a record
	}
	return list, nil
}

// Template returns one template: the newest where ref has no version. Kind NotFound.
func (tx *Tx) Template(ref clade.Ref) (*clade.Template, error) {
	list, err := tx.Templates()
	if err != nil {
		return nil, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if t := list[i]; t.Name == ref.Name && (ref.Version == "" || t.Version == ref.Version) {
			return t, nil
		}
	}
	return nil, &clade.Error{Op: "find", On: "template " + ref.String(), Kind: clade.NotFound,
		Hint: "clade template ls shows the templates there are"}
}

// NextVersion returns the number after the highest numbered version of name.
func (tx *Tx) NextVersion(name clade.Name) (string, error) {
	list, err := tx.Templates()
	highest := 0
	for _, t := range list {
		if n, err := strconv.Atoi(t.Version); t.Name == name && err == nil && n > highest {
			highest = n
		}
	}
	return strconv.Itoa(highest + 1), err
}

// AddTemplate records a template. Kinds: Exists; InUse where a layer is gone.
func (tx *Tx) AddTemplate(t *clade.Template) error {
	hardware, err := json.Marshal(t.Hardware)
	if err != nil {
		return err
	}
	_, err = tx.exec("INSERT INTO templates (name, version, source, user, hardware, generalized, attestation, believed, created) VALUES (?,?,?,?,?,?,?,?,?)",
		string(t.Name), t.Version, t.Source, t.User, string(hardware), t.Generalized, []byte(t.Attestation), t.Believed, t.Created.UnixNano())
	if clade.KindOf(err) == clade.Exists {
		return &clade.Error{Op: "create", On: "template " + t.Ref().String(), Kind: clade.Exists,
			Hint: "templates never change: use the next version, or leave the version out"}
	}
	if err != nil {
		return err
	}
	for _, d := range t.Disks {
		if _, err := tx.exec("INSERT INTO template_disks (name, version, slot, layer, virtual, label, mount) VALUES (?,?,?,?,?,?,?)",
			string(t.Name), t.Version, d.Slot, d.Layer, int64(d.Virtual), d.Label, d.Mount); err != nil {
			return err
		}
	}
	return nil
}

// RemoveTemplate deletes the record of a template; its layers stay.
func (tx *Tx) RemoveTemplate(ref clade.Ref) error {
	_, err := tx.exec("DELETE FROM templates WHERE name = ? AND version = ?", string(ref.Name), ref.Version)
	return err
}
