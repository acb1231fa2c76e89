//go:build integration

package host_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/clade-vm/clade"
)

// TestClockThatGoesBack makes all that a home knows a year older than it is, as if
// the clock had been a year ahead: everything goes on, new versions are the newest
// all the same, and lists are in the order in which things were made.
func TestClockThatGoesBack(t *testing.T) {
	r := rigged(t, newDrive(t))
	if err := r.steps(prelude); err != nil {
		t.Fatal(err)
	}
	ahead(t, filepath.Join(r.dir, "clade.db"))
	for _, act := range []string{"collect home", "verify home", "write c1 1 2 3", "template c1 t:9", "linked t:9 c6", "snapshot c1 s9", "undo c2",
		"rebase c3 t:9", "restore c1 s1", "promote c2", "kill m2", "start c4", "reset c6", "export t:9 b9.clade", "import v b9.clade", "rm c5", "untemplate t:1"} {
		if err := r.step(act); err != nil {
			t.Errorf("%s: %v", act, err)
		}
	}
	if err := r.same(r.model); err != nil {
		t.Error(err)
	}
	newest, err := r.h.Template(ctx, clade.Ref{Name: "t"})
	if err != nil || newest.Version != "9" {
		t.Errorf("the newest version = %v, %v, want 9", newest, err)
	}
	if m, err := r.h.Machine(ctx, "c3"); err != nil || m.Newer != "" {
		t.Errorf("c3 rests on the newest version, and %q is said to be newer (%v)", m.Newer, err)
	}
	list, err := r.h.Snapshots(ctx, "c1")
	if err != nil || len(list) != 2 || list[1].Name != "s9" {
		t.Errorf("the snapshots of c1 = %v, %v, want s9 to be the last of two", list, err)
	}
}

// ahead moves every time in the records a year on.
func ahead(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, table := range []string{"machines", "layers", "templates", "snapshots", "networks"} {
		_, e := db.Exec("UPDATE "+table+" SET created = created + ?", int64(365*24*time.Hour))
		err = errors.Join(err, e)
	}
	if err != nil {
		t.Fatal(err)
	}
}
