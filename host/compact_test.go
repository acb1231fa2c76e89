package host_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
	"github.com/clade-vm/clade/qcow2"
)

// bareStream is the fake driver with a Stream that has nothing to copy, since no guest
// ever wrote: it only makes the heads say what they rest on.
type bareStream struct{ *fake.Driver }

var _ hypervisor.Streamer = bareStream{}

func (d bareStream) Stream(ctx context.Context, p hypervisor.Place, onto []hypervisor.Rest, _ clade.Bytes, tell func(done, total int64)) error {
	heads, err := d.Heads(ctx, p)
	if err != nil {
		return err
	}
	for i, head := range heads {
		if onto[i].Below == 1 {
			continue
		}
		f, err := os.OpenFile(head, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		header := make([]byte, 104)
		_, err = f.ReadAt(header, 0)
		if binary.BigEndian.Uint64(header[8:]) == 0 {
			onto[i].Name = "" // it rests on nothing already
		}
		if binary.BigEndian.PutUint32(header[16:], uint32(len(onto[i].Name))); onto[i].Name == "" {
			binary.BigEndian.PutUint64(header[8:], 0)
		} else if err == nil {
			_, err = f.WriteAt([]byte(onto[i].Name), int64(binary.BigEndian.Uint64(header[8:])))
		}
		if err == nil {
			_, err = f.WriteAt(header, 0)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	tell(1, 1)
	return nil
}

// qemuIO has qemu-io do commands, such as "write -P 1 0 1M", on a stopped machine.
func qemuIO(t *testing.T, h *host.Host, name clade.Name, commands ...string) {
	t.Helper()
	args := []string{"-f", "qcow2"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	m := machine(t, h, name)
	heads, _ := filepath.Glob(filepath.Join(h.Dir, "machines", m.ID, "disk0-*.qcow2"))
	if out, err := exec.Command("qemu-io", append(args, heads[0])...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-io %v: %v\n%s", args, err, out)
	}
}

func compact(t *testing.T, h *host.Host, name clade.Name, dryRun bool) *clade.Compaction {
	t.Helper()
	c, err := h.Compact(ctx, name, dryRun, nil)
	if err != nil {
		t.Fatalf("Compact(%s): %v", name, err)
	}
	return c
}

// deep makes c, a clone of t:1, on four layers of its own, with a template on the
// lowest of these. It returns the layer that is the template's.
func deep(t *testing.T, h *host.Host) string {
	t.Helper()
	must(t, h, "linked t c")
	var kept string
	for i, act := range []string{"snapshot c one", "snapshot c two", "snapshot c three", "snapshot c four"} {
		qemuIO(t, h, "c", "write -q -P "+string('1'+byte(i))+" "+string('0'+byte(i))+"M 2M")
		must(t, h, act)
		if i == 0 {
			if _, err := h.CreateTemplate(ctx, clade.TemplateSpec{Ref: clade.Ref{Name: "mid"}, Machine: "c", SkipGeneralize: true}, nil); err != nil {
				t.Fatal(err)
			}
			kept = layer(t, h, "c")
		}
	}
	for _, name := range []string{"one", "two", "three", "four"} {
		must(t, h, "unsnapshot c "+name)
	}
	qemuIO(t, h, "c", "write -q -P 9 8M 1M", "write -q -z 4M 1M")
	return kept
}

// holds checks that c reads back as deep wrote it.
func holds(t *testing.T, h *host.Host, name clade.Name) {
	t.Helper()
	qemuIO(t, h, name, "read -q -P 1 0 1M", "read -q -P 2 1M 1M", "read -q -P 3 2M 1M", "read -q -P 4 3M 1M", "read -q -P 0 4M 4M", "read -q -P 9 8M 1M", "read -q -P 0 9M 1M")
}

func TestCompactMergesWhatNobodyElseNeeds(t *testing.T) {
	for _, state := range []string{"stopped", "running"} {
		h, dir := home(t)
		kept := deep(t, h)
		before := machine(t, h, "c").Disks[0]
		c := compact(t, h, "c", true)
		if c.Was != before.Depth || c.Is != c.Was-3 || len(c.Merged) != 3 || machine(t, h, "c").Disks[0] != before {
			t.Errorf("%s: a dry run says %+v, with %d layers below and the template's at the fourth", state, c, before.Depth)
		}
		if state == "running" {
			must(t, h, "start c")
		}
		c = compact(t, h, "c", false)
		if d := machine(t, h, "c").Disks[0]; d.Layer != kept || d.Depth != before.Depth-3 || d.Base != before.Base || c.Is != d.Depth {
			t.Errorf("%s: the disk is %+v (%+v), want one on layer %s", state, d, c, kept)
		}
		heads, _ := filepath.Glob(filepath.Join(dir, "machines", machine(t, h, "c").ID, "disk0-*.qcow2"))
		info, err := qcow2.InspectFile(heads[0])
		if err != nil || len(heads) != 1 || info.ExtendedL2 == (state == "running") {
			t.Errorf("%s: the heads are %v, %+v, %v; want subclusters unless it was copied into while it ran", state, heads, info, err)
		}
		if state == "stopped" {
			holds(t, h, "c")
		}
		clean(t, h, dir)
		if state == "stopped" {
			if again := compact(t, h, "c", false); len(again.Merged) != 0 || again.Freed != 0 {
				t.Errorf("a second one says %+v, want that nothing was gained", again)
			}
			must(t, h, "reset c") // what it was made on is there
		}
	}
}

// TestCompactGivesZeroesBack: of a machine that rests on nothing too.
func TestCompactGivesZeroesBack(t *testing.T) {
	h, dir := home(t)
	must(t, h, "build x")
	qemuIO(t, h, "x", "write -q -P 7 0 32M")
	must(t, h, "snapshot x s")
	must(t, h, "unsnapshot x s")
	qemuIO(t, h, "x", "write -q -P 0 0 24M", "discard 30M 2M")
	c := compact(t, h, "x", false)
	if x := machine(t, h, "x").Disks[0]; c.Freed < 40*clade.MiB || c.Is != 0 || x.Layer != "" || x.Depth != 0 {
		t.Errorf("Compact = %+v, the disk is %+v; want 24 + 26 MiB freed, and that it rests on nothing", c, x)
	}
	qemuIO(t, h, "x", "read -q -P 0 0 24M", "read -q -P 7 24M 6M", "read -q -P 0 30M 2M")
	clean(t, h, dir)
}

// TestBudget: a freeze that would make a chain too long shortens it first, running or
// not; where others need the layers it grows.
func TestBudget(t *testing.T) {
	for _, state := range []string{"kill", "start"} {
		h, dir := home(t)
		h.Budget = 5
		must(t, h, "linked t c")
		base := machine(t, h, "c").Disks[0].Depth
		for i := range 12 {
			must(t, h, "start c") // what a running machine's head holds is not looked at: it is frozen
			if state == "kill" {
				must(t, h, "kill c")
				qemuIO(t, h, "c", "write -q -P 5 0 64k")
			}
			must(t, h, "snapshot c s")
			if d := machine(t, h, "c").Disks[0].Depth; d > 5 {
				t.Errorf("%s: after %d freezes %d layers lie below it, with a budget of 5", state, i+1, d)
			}
			must(t, h, "unsnapshot c s")
		}
		for _, name := range []string{"a", "b", "d", "e", "f", "g"} {
			must(t, h, "start c")
			must(t, h, "snapshot c "+name)
		}
		if d := machine(t, h, "c").Disks[0].Depth; d < base+6 {
			t.Errorf("%s: with six snapshots %d layers lie below it, want at least %d", state, d, base+6)
		}
		clean(t, h, dir)
	}
}

// TestStreamThatEndedUnseen: a stream goes on in the hypervisor when the command that
// began it is killed; the next command finds out what the head rests on.
func TestStreamThatEndedUnseen(t *testing.T) {
	h, dir := home(t)
	kept := deep(t, h)
	must(t, h, "start c")
	m := machine(t, h, "c")
	place := hypervisor.Place{Dir: filepath.Join(dir, "machines", m.ID), Run: filepath.Join(dir, "run", m.ID)}
	name := "../../layers/" + kept + "/layer.qcow2"
	if err := (bareStream{fake.New()}).Stream(ctx, place, []hypervisor.Rest{{Below: 4, Name: name}}, 0, func(_, _ int64) {}); err != nil {
		t.Fatal(err)
	}
	must(t, h, "snapshot c s")
	l, err := h.Lineage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	top := l.Layers[slices.IndexFunc(l.Layers, func(l *clade.Layer) bool { return l.ID == layer(t, h, "c") })]
	if top.Parent != kept {
		t.Errorf("the frozen head's record says it rests on %s, its file says %s", top.Parent, kept)
	}
	clean(t, h, dir)
}

// TestForeignHeadIsRefused: a head that rests on something that is not below it.
func TestForeignHeadIsRefused(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	must(t, h, "linked t d")
	must(t, h, "start d")
	must(t, h, "snapshot d s")
	m := machine(t, h, "c")
	head := filepath.Join(dir, "machines", m.ID, "disk0-0.qcow2")
	if err := os.Remove(head); err != nil {
		t.Fatal(err)
	}
	o := qcow2.Overlay{Virtual: m.Disks[0].Virtual, Backing: "../../layers/" + layer(t, h, "d") + "/layer.qcow2", BackingFormat: "qcow2"}
	if err := qcow2.WriteOverlay(head, o); err != nil {
		t.Fatal(err)
	}
	if err := perform(ctx, h, "start c"); !errors.Is(err, clade.Corrupt) {
		t.Errorf("start: %v, want kind %q", err, clade.Corrupt)
	}
}
