package host_test

import (
	"testing"

	"github.com/clade-vm/clade"
)

// What is isolated is so in its record, by itself or with its whole network.
func TestIsolation(t *testing.T) {
	h, _ := home(t)
	if _, err := h.CreateNetwork(ctx, clade.NetworkSpec{Name: "exam", Isolated: true}); err != nil {
		t.Fatal(err)
	}
	n, err := h.Network(ctx, "exam")
	if err != nil || !n.Isolated {
		t.Errorf("Network = %+v, %v; want an isolated one", n, err)
	}
	for name, isolated := range map[clade.Name]bool{"a": true, "b": false} {
		made, err := h.Clone(ctx, clade.CloneSpec{Source: "t", Names: []clade.Name{name}, Options: clade.Options{Isolated: isolated}}, nil)
		if err != nil || made[0].Isolated != isolated {
			t.Errorf("Clone(isolated: %v) = %+v, %v", isolated, made, err)
		}
		if m, err := h.Machine(ctx, name); err != nil || m.Isolated != isolated {
			t.Errorf("Machine(%s) = %+v, %v; want isolated %v", name, m, err, isolated)
		}
	}
}
