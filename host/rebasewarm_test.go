package host_test

import (
	"testing"

	"github.com/clade-vm/clade"
)

// TestRebasedInstantLeavesItsWarmTemplate: once its rebase is confirmed an instant clone
// is a linked one, and the memory it was resumed from goes; until then it can go back.
func TestRebasedInstantLeavesItsWarmTemplate(t *testing.T) {
	h, dir, _ := warmHome(t, nil)
	must(t, h, "instant t a")
	must(t, h, "instant t b")
	must(t, h, "template m")
	if _, err := h.RemoveWarm(ctx, clade.Ref{Name: "t", Version: "1"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		must(t, h, "kill "+name)
		must(t, h, "rebase "+name+" t")
		if m := machine(t, h, clade.Name(name)); m.Clone != clade.Linked || m.Warm == "" {
			t.Errorf("rebased it is %+v, want a linked clone that can go back", m)
		}
	}
	must(t, h, "undo a")
	must(t, h, "reset a")
	must(t, h, "start a") // it wakes again
	must(t, h, "kill a")
	must(t, h, "rebase a t")
	must(t, h, "confirm a")
	if got := list(t, dir, "warm"); len(got) != 1 {
		t.Errorf("warm holds %v, want that of b, whose rebase can be undone", got)
	}
	must(t, h, "confirm b")
	if m := machine(t, h, "b"); m.Warm != "" {
		t.Errorf("confirmed it is %+v, want that it never goes back", m)
	}
	clean(t, h, dir)
	if got := list(t, dir, "warm"); len(got) != 0 {
		t.Errorf("warm holds %v, want nothing", got)
	}
	must(t, h, "reset b")
	must(t, h, "start b") // it boots
	must(t, h, "kill b")
}
