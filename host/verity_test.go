package host_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
)

// note records of a layer that the kernel measured it.
func note(t *testing.T, dir, id, verity string) {
	t.Helper()
	db, err := store.Open(ctx, dir+"/clade.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Write(ctx, func(tx *store.Tx) error {
		layers, err := tx.Layers()
		for _, l := range layers {
			if l.ID == id {
				l.Verity = verity
				err = errors.Join(err, tx.SealLayer(l))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func verityOf(t *testing.T, dir, id string) (verity string) {
	t.Helper()
	db, err := store.Open(ctx, dir+"/clade.db")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Read(ctx, func(tx *store.Tx) error {
		layers, err := tx.Layers()
		for _, l := range layers {
			if l.ID == id {
				verity = l.Verity
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return verity
}

// TestMeasureGone: a layer that the kernel was to check and does not, or measures to be
// something else, is refused at the start, which names it and what rests on it; verify
// reads it, and records it as it is here.
func TestMeasureGone(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	id, path := layerOf(t, h, dir, "c")
	note(t, dir, id, "sha256:"+strings.Repeat("0", 64))
	err := perform(ctx, h, "start c")
	for _, said := range []string{id, "fs-verity", "template t:1", "machine c"} {
		if !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), said) {
			t.Errorf("start = %v, want %v that says %q", err, clade.Corrupt, said)
		}
	}
	if _, err := h.Verify(ctx, clade.VerifySpec{Names: []string{"c"}}, nil); err != nil {
		t.Error(err)
	}
	is, err := image.Verity(path)
	if got := verityOf(t, dir, id); err != nil || got != is {
		t.Errorf("recorded is %q, want %q, %v", got, is, err)
	}
	must(t, h, "start c")
	must(t, h, "kill c")
	clean(t, h, dir)
}
