package store_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
)

// raw runs SQL on a database file without the store.
func raw(t *testing.T, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFirstSchemaIsBroughtForward opens a database of the first clade: what it
// held is there, and what came since works in it.
func TestFirstSchemaIsBroughtForward(t *testing.T) {
	first, err := os.ReadFile("schema/1.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "db")
	raw(t, path, string(first)+`
		PRAGMA user_version = 1;
		INSERT INTO networks (name, subnet, nat, created) VALUES ('old', '10.80.0.0/16', 1, 1);
		INSERT INTO layers (id, origin, digest, virtual, size, allocated, inode, modified, changed, sealed, created) VALUES ('l', '', '', 1, 1, 1, 1, 1, 1, 1, 1);`)
	db := open(t, path)
	err = db.Read(t.Context(), func(tx *store.Tx) error {
		list, err := tx.Networks()
		if err == nil && (len(list) != 1 || list[0].Name != "old") {
			t.Errorf("Networks = %v, want the one that was there", list)
		}
		return err
	})
	if err := errors.Join(err, add(db, machine(1))); err != nil {
		t.Error(err)
	}
	if l := layer(t, db); !l.Verified.IsZero() {
		t.Errorf("a layer of before was verified at %v, want never", l.Verified)
	}
	at := time.Unix(7, 8).UTC()
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.VerifyLayer("l", at) }); err != nil {
		t.Fatal(err)
	}
	if l := layer(t, db); l.Verified != at {
		t.Errorf("verified at %v, want %v", l.Verified, at)
	}
}

// layer returns the one layer there is.
func layer(t *testing.T, db *store.DB) (l *clade.Layer) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		list, err := tx.Layers()
		if err == nil && len(list) != 1 {
			t.Fatalf("%d layers, want 1", len(list))
		}
		l = list[0]
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	raw(t, path, "PRAGMA user_version = 9999")
	db, err := store.Open(t.Context(), path)
	if !errors.Is(err, clade.Unsupported) {
		t.Errorf("Open(a database of a newer clade) = %v, %v; want kind %q", db, err, clade.Unsupported)
	}
}
