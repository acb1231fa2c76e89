package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
)

func open(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// machine is a record in which everything that must be unique is n's.
func machine(n int) *store.Machine {
	m := &store.Machine{Heads: []string{"disk0-0.qcow2"}, UserData: []byte("#cloud-config\n"), SSHKeys: []string{"ssh-ed25519 AAAA"}}
	m.Machine = clade.Machine{ID: fmt.Sprint("id", n), Name: clade.Name(fmt.Sprint("m", n)), Clone: clade.Linked, Source: "template t:1",
		Identity: clade.Identity{UUID: fmt.Sprint("uuid", n), MAC: fmt.Sprint("mac", n), IP: netip.AddrFrom4([4]byte{10, 80, 0, byte(n)}),
			Hostname: clade.Name(fmt.Sprint("m", n)), InstanceID: fmt.Sprint("i", n)},
		Hardware: clade.Hardware{CPUs: 2, Memory: clade.GiB, Firmware: clade.BIOS}, Network: "default", User: "debian",
		Disks:   []clade.Disk{{Serial: fmt.Sprint("serial", n), Virtual: clade.GiB}},
		Created: time.Unix(1, 2).UTC()}
	return m
}

func add(db *store.DB, m *store.Machine) error {
	return db.Write(context.Background(), func(tx *store.Tx) error { return tx.AddMachine(m) })
}

// TestMachineComesBackWhole records what people write with the separator of rows in it.
func TestMachineComesBackWhole(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	want := machine(1)
	want.Source, want.User, want.MachineID, want.Isolated, want.Asleep = "image a\x1fb ü", "deb\x1fian", "0123", true, true
	want.Disks = append(want.Disks, clade.Disk{Slot: 1, Serial: "other", Virtual: 7, Label: "da\x1fta", Mount: "/srv/\x1f"},
		clade.Disk{Slot: 2, Serial: "plain", Virtual: clade.TiB})
	want.Heads = append(want.Heads, "disk1-3.qcow2", "disk2-0.qcow2")
	if err := add(db, want); err != nil {
		t.Fatal(err)
	}
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		got, err := tx.Machine("m1")
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("Machine = %+v, want %+v", got, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoTwoShare takes one value at a time from another machine.
func TestNoTwoShare(t *testing.T) {
	for name, share := range map[string]func(a, b *store.Machine){
		"name":        func(a, b *store.Machine) { a.Name = b.Name },
		"uuid":        func(a, b *store.Machine) { a.Identity.UUID = b.Identity.UUID },
		"mac":         func(a, b *store.Machine) { a.Identity.MAC = b.Identity.MAC },
		"ip":          func(a, b *store.Machine) { a.Identity.IP = b.Identity.IP },
		"hostname":    func(a, b *store.Machine) { a.Identity.Hostname = b.Identity.Hostname },
		"instance-id": func(a, b *store.Machine) { a.Identity.InstanceID = b.Identity.InstanceID },
		"serial":      func(a, b *store.Machine) { a.Disks[0].Serial = b.Disks[0].Serial },
	} {
		db := open(t, filepath.Join(t.TempDir(), "db"))
		a, b := machine(1), machine(2)
		share(a, b)
		if err := add(db, b); err != nil {
			t.Fatal(err)
		}
		if err := add(db, a); !errors.Is(err, clade.Exists) {
			t.Errorf("a second machine with the same %s: error = %v, want %v", name, err, clade.Exists)
		}
		_ = db.Read(t.Context(), func(tx *store.Tx) error {
			if list, err := tx.Machines(); err != nil || len(list) != 1 {
				t.Errorf("%s: %d machines are recorded, want the first alone (%v)", name, len(list), err)
			}
			return nil
		})
	}
}

func TestSameAddressOnAnotherNetwork(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	a, b := machine(1), machine(2)
	b.Identity.IP, b.Identity.Hostname, b.Network = a.Identity.IP, a.Identity.Hostname, "other"
	if err := errors.Join(add(db, a), add(db, b)); err != nil {
		t.Errorf("one address on two networks: %v, want no error", err)
	}
}

func TestLayerStaysWhileSomethingRestsOnIt(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	m := machine(1)
	m.Disks[0].Layer = "b"
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.AddLayer(&clade.Layer{ID: "a"}), tx.AddLayer(&clade.Layer{ID: "b", Parent: "a"}), tx.AddMachine(m))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.RemoveLayer(id) })
		if !errors.Is(err, clade.InUse) {
			t.Errorf("RemoveLayer(%s) = %v, want %v", id, err, clade.InUse)
		}
	}
	orphan := machine(2)
	orphan.Disks[0].Layer = "gone"
	if err := add(db, orphan); !errors.Is(err, clade.InUse) {
		t.Errorf("a machine on a layer that is not there: error = %v, want %v", err, clade.InUse)
	}
}

func TestWriteIsAllOrNothing(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	stop := errors.New("stop")
	err := db.Write(t.Context(), func(tx *store.Tx) error { return errors.Join(tx.AddMachine(machine(1)), stop) })
	if !errors.Is(err, stop) {
		t.Fatalf("Write = %v, want %v", err, stop)
	}
	_ = db.Read(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Machine("m1"); !errors.Is(err, clade.NotFound) {
			t.Errorf("Machine after a failed Write: error = %v, want %v", err, clade.NotFound)
		}
		return nil
	})
}

func TestManyOpenANewDatabaseAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			db, err := store.Open(t.Context(), path)
			if err == nil {
				err = errors.Join(add(db, machine(i+1)), db.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestDamagedAndNewerDatabases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, []byte("this is no database, and long enough to be sure of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), path); !errors.Is(err, clade.Corrupt) {
		t.Errorf("Open(text file) = %v, want %v", err, clade.Corrupt)
	}
}

func TestDatabaseIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	open(t, path)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode = %v (%v), want nothing for others: user data may be secret", st.Mode(), err)
	}
}

// TestDataDisksComeBackWhole: what a disk is for is kept with machines, templates
// and snapshots; no machine has a label twice.
func TestDataDisksComeBackWhole(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	m := machine(1)
	m.Disks = append(m.Disks, clade.Disk{Slot: 1, Serial: "s", Layer: "a", Virtual: clade.GiB, Label: "home", Mount: "/home"})
	m.Heads = append(m.Heads, "disk1-0.qcow2")
	tpl := &clade.Template{Name: "t", Version: "1", Disks: []clade.TemplateDisk{{Slot: 1, Layer: "a", Virtual: clade.GiB, Label: "home", Mount: "/home"}}}
	moment := &clade.Snapshot{Name: "s", Disks: []clade.Disk{{Slot: 1, Layer: "a", Virtual: clade.GiB, Label: "home", Mount: "/home"}}}
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.AddLayer(&clade.Layer{ID: "a"}), tx.AddMachine(m), tx.AddTemplate(tpl), tx.AddSnapshot(m.ID, moment))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Read(t.Context(), func(tx *store.Tx) error {
		got, err := tx.Machine(m.Name)
		kept, err2 := tx.Template(clade.Ref{Name: "t"})
		list, err3 := tx.Snapshots(m.ID)
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		if !reflect.DeepEqual(got.Disks, m.Disks) || !reflect.DeepEqual(kept.Disks, tpl.Disks) || !reflect.DeepEqual(list[0].Disks, moment.Disks) {
			t.Errorf("the disks came back as %+v, %+v, %+v", got.Disks, kept.Disks, list[0].Disks)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	twice := machine(2)
	twice.Heads = []string{"disk0-0.qcow2", "disk1-0.qcow2"}
	twice.Disks = []clade.Disk{{Serial: "x", Virtual: clade.GiB, Label: "home"}, {Slot: 1, Serial: "y", Virtual: clade.GiB, Label: "home"}}
	if err := add(db, twice); !errors.Is(err, clade.Exists) {
		t.Errorf("a machine with the label home twice: error %v, want kind %q", err, clade.Exists)
	}
}

// TestHalfARecordIsNone: where the disks of what is listed cannot be read, there is no
// list. Who took one for whole would find nothing to go back to.
func TestHalfARecordIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path)
	l := &clade.Layer{ID: "l", Created: time.Unix(1, 0)}
	disks := []clade.TemplateDisk{{Layer: "l"}}
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(tx.AddLayer(l), tx.AddMachine(machine(1)),
			tx.AddSnapshot("id1", &clade.Snapshot{Name: "s", Disks: []clade.Disk{{Layer: "l"}}}),
			tx.AddTemplate(&clade.Template{Name: "t", Version: "1", Disks: disks}), tx.AddWarm(&clade.Warm{ID: "w", Template: clade.Ref{Name: "t", Version: "1"}, Disks: disks}),
			tx.AddNetwork(&clade.Network{Name: "n"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, half := range []struct {
		table string
		list  func(tx *store.Tx) (int, error)
	}{
		{"snapshot_disks", func(tx *store.Tx) (int, error) { list, err := tx.Snapshots("id1"); return len(list), err }},
		{"template_disks", func(tx *store.Tx) (int, error) { list, err := tx.Templates(); return len(list), err }},
		{"warm_disks", func(tx *store.Tx) (int, error) { list, err := tx.Warm(); return len(list), err }},
		{"machines", func(tx *store.Tx) (int, error) { list, err := tx.Networks(); return len(list), err }},
	} {
		raw(t, path, "ALTER TABLE "+half.table+" RENAME TO elsewhere")
		var n int
		err := db.Read(t.Context(), func(tx *store.Tx) (err error) { n, err = half.list(tx); return err })
		if err == nil || n != 0 {
			t.Errorf("without %s there are %d, %v; want none and an error", half.table, n, err)
		}
		raw(t, path, "ALTER TABLE elsewhere RENAME TO "+half.table)
	}
}
