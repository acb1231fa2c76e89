package cli

import (
	"strings"
	"testing"
)

// TestTableIsAligned has cells of letters that take more than one byte, and one too few.
func TestTableIsAligned(t *testing.T) {
	var out strings.Builder
	a := &app{env: Env{Out: &out}, bars: newBars(&out)}
	table := &table{}
	table.row("NAME", "STATE", "WHY")
	table.row("größer", "", "the\nlast one")
	table.row("m", "läuft")
	if err := a.printTable(table); err != nil {
		t.Fatal(err)
	}
	want := "NAME     STATE   WHY\ngrößer   -       the last one\nm        läuft\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
