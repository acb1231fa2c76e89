package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
)

// TestWarm: a warm template keeps its layers, loses its name to a newer one, and
// stays for the clones that rest on it; two clones cannot have drawn the same.
func TestWarm(t *testing.T) {
	db := open(t, t.TempDir()+"/db")
	do := func(what string, want error, f func(tx *store.Tx) error) {
		t.Helper()
		if err := db.Write(t.Context(), f); !errors.Is(err, want) {
			t.Errorf("%s = %v, want %v", what, err, want)
		}
	}
	warm := func(id string) *clade.Warm {
		return &clade.Warm{ID: id, Template: clade.Ref{Name: "t", Version: "1"}, After: "agent", Bound: clade.Bound{Machine: "pc"},
			Disks: []clade.TemplateDisk{{Layer: "l", Virtual: 7}}, Files: []clade.WarmFile{{Name: "ram", Size: 9, Allocated: 4}}, Created: time.Unix(1, 0).UTC()}
	}
	m := machine(1)
	m.Clone, m.Warm, m.Asleep = clade.Instant, "w1", true
	do("AddWarm", nil, func(tx *store.Tx) error {
		return errors.Join(tx.AddNetwork(&clade.Network{Name: "default", Subnet: "10.80.0.0/16"}), tx.AddLayer(&clade.Layer{ID: "l"}),
			tx.AddTemplate(&clade.Template{Name: "t", Version: "1"}), tx.AddWarm(warm("w1")), tx.AddMachine(m))
	})
	do("RemoveLayer", clade.InUse, func(tx *store.Tx) error { return tx.RemoveLayer("l") })
	do("Woke", nil, func(tx *store.Tx) error {
		return errors.Join(tx.AddDraws("w1", []string{"a", "b"}), tx.Woke(m.ID, "id"))
	})
	do("AddDraws of what another one drew", clade.Exists, func(tx *store.Tx) error { return tx.AddDraws("w1", []string{"b"}) })
	do("AddWarm of a newer one", nil, func(tx *store.Tx) error { return errors.Join(tx.AddWarm(warm("w2")), tx.RemoveUnusedWarm()) })
	do("Warm", nil, func(tx *store.Tx) error {
		list, err := tx.Warm()
		if err != nil || len(list) != 2 || list[0].Template.Name != "" || list[0].Clones != 1 || list[1].Template.String() != "t:1" || list[1].Clones != 0 {
			t.Errorf("Warm = %+v, %v, want w1 without a name for one clone, and w2", list, err)
		}
		if w := list[1]; w.Disks[0].Virtual != 7 || w.Allocated() != 4 || w.Bound.Machine != "pc" {
			t.Errorf("what was recorded reads %+v", w)
		}
		got, err := tx.Machine(m.Name)
		if err == nil && (got.Warm != "w1" || got.Asleep || got.MachineID != "id") {
			t.Errorf("the clone reads %+v, want it awake", got.Machine)
		}
		return err
	})
	do("RemoveTemplate", nil, func(tx *store.Tx) error {
		if err := tx.RemoveTemplate(clade.Ref{Name: "t", Version: "1"}); err != nil {
			return err
		}
		if list, err := tx.Warm(); err != nil || len(list) != 2 || list[1].Template.Name != "" || len(list[1].Disks) != 1 {
			t.Errorf("without the template Warm = %+v, %v, want both there, without a name", list, err)
		}
		return tx.RemoveUnusedWarm()
	})
	count := func(what string, want int, f func(tx *store.Tx) error) {
		t.Helper()
		do(what, nil, func(tx *store.Tx) error {
			if err := errors.Join(f(tx), tx.RemoveUnusedWarm()); err != nil {
				return err
			}
			list, err := tx.Warm()
			if len(list) != want {
				t.Errorf("%s: Warm = %+v, want %d", what, list, want)
			}
			return err
		})
	}
	count("a snapshot of the instant clone, and a rebase", 1, func(tx *store.Tx) error {
		s := &clade.Snapshot{Machine: m.Name, Name: "before-rebase", Clone: clade.Instant, Created: time.Unix(2, 0)}
		return errors.Join(tx.AddSnapshot(m.ID, s), tx.SetSource(m.ID, clade.Linked, "template u:1"))
	})
	count("the rebase is confirmed", 0, func(tx *store.Tx) error { return tx.RemoveSnapshot(m.ID, "before-rebase") })
	do("RemoveMachine", nil, func(tx *store.Tx) error { return errors.Join(tx.RemoveMachine(m.ID), tx.RemoveLayer("l")) })
}
