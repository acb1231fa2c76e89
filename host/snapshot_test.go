package host_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor/fake"
)

// layer is what a machine's first disk rests on.
func layer(t *testing.T, h *host.Host, name clade.Name) string {
	t.Helper()
	return machine(t, h, name).Disks[0].Layer
}

func TestSnapshotsAreKept(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	base := layer(t, h, "c")
	must(t, h, "start c")
	must(t, h, "snapshot c one")
	one := layer(t, h, "c")
	must(t, h, "snapshot c two")
	two := layer(t, h, "c")
	must(t, h, "kill c")
	if one == base || two == one {
		t.Errorf("layers %s, %s, %s: a running machine's moments are layers of their own", base, one, two)
	}
	must(t, h, "restore c one")
	if got := layer(t, h, "c"); got != one {
		t.Errorf("restored, it rests on %s, want %s", got, one)
	}
	must(t, h, "reset c")
	if got := layer(t, h, "c"); got != base {
		t.Errorf("reset, it rests on %s, want %s", got, base)
	}
	clean(t, h, dir)
	if _, err := h.Verify(ctx, clade.VerifySpec{}, nil); err != nil {
		t.Error(err)
	}
	// The layers go with what needs them: two rests on one.
	for _, step := range []struct {
		act  string
		left bool // whether layer one is there then
	}{{"unsnapshot c one", true}, {"unsnapshot c two", false}} {
		must(t, h, step.act)
		if _, err := os.Stat(filepath.Join(dir, "layers", one)); (err == nil) != step.left {
			t.Errorf("after %s: layer of the first snapshot: %v", step.act, err)
		}
	}
	clean(t, h, dir)
}

// TestPauseIsTold: whoever freezes a running machine is told how long it stood still.
func TestPauseIsTold(t *testing.T) {
	h, _ := home(t)
	must(t, h, "linked t c")
	for _, running := range []bool{false, true} {
		if running {
			must(t, h, "start c")
		}
		s, err := h.CreateSnapshot(ctx, clade.SnapshotSpec{Machine: "c", Name: clade.Name(fmt.Sprintf("s-%v", running))}, nil)
		if err != nil || (s.Pause != nil) != running || running && !s.Pause.Frozen {
			t.Errorf("running %v: snapshot %+v, %v", running, s, err)
		}
		tpl, err := h.CreateTemplate(ctx, clade.TemplateSpec{Ref: clade.Ref{Name: "other"}, Machine: "c"}, nil)
		if err != nil || (tpl.Pause != nil) != running {
			t.Errorf("running %v: template %+v, %v", running, tpl, err)
		}
		name := clade.Name(fmt.Sprintf("d-%v", running))
		made, err := h.Clone(ctx, clade.CloneSpec{Source: "c", Names: []clade.Name{name}, AcceptTwins: []string{clade.AllMarks}, Options: alone}, nil)
		if err != nil || (made[0].Pause != nil) != running {
			t.Errorf("running %v: clone %+v, %v", running, made, err)
		}
	}
	if m := machine(t, h, "d-true"); m.Pause != nil {
		t.Errorf("a pause was kept: %+v", m)
	}
}

func TestSnapshotsGoWithTheMachine(t *testing.T) {
	h, dir := home(t)
	for _, act := range []string{"linked t c", "start c", "snapshot c s", "kill c", "rm c"} {
		must(t, h, act)
	}
	if list, err := h.Snapshots(ctx, ""); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	clean(t, h, dir)
}

// TestSnapshotThatIsHalfRead: where the disks of a snapshot cannot be read, nothing goes
// back to it. A machine of no disks would be found to be what it was.
func TestSnapshotThatIsHalfRead(t *testing.T) {
	h, dir := home(t)
	for _, act := range []string{"template m", "linked t c", "snapshot c s", "rebase c t"} {
		must(t, h, act)
	}
	was := layer(t, h, "c")
	records(t, dir, "ALTER TABLE snapshot_disks RENAME COLUMN mount TO elsewhere")
	for _, act := range []string{"restore c s", "undo c", "rebase c t", "snapshot c s"} {
		if err := perform(ctx, h, act); err == nil || errors.Is(err, clade.NotFound) || errors.Is(err, clade.Exists) {
			t.Errorf("%s without its disks = %v, want what failed", act, err)
		}
	}
	records(t, dir, "ALTER TABLE snapshot_disks RENAME COLUMN elsewhere TO mount")
	if now := layer(t, h, "c"); now != was {
		t.Errorf("it rests on %s, want %s", now, was)
	}
	clean(t, h, dir)
	must(t, h, "undo c")
	must(t, h, "restore c s")
	clean(t, h, dir)
}

// records runs SQL on the records of a home.
func records(t *testing.T, dir, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "clade.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(text)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRebase(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	before := machine(t, h, "c")
	must(t, h, "start m")
	must(t, h, "template m")
	if list, err := h.Machines(ctx); err != nil || list[0].Name != "c" || list[0].Newer != "2" {
		t.Errorf("%+v, %v: want c to be outdated by version 2", list[0], err)
	}
	must(t, h, "rebase c t")
	after := machine(t, h, "c")
	if after.Source != "template t:2" || after.Disks[0].Layer == before.Disks[0].Layer || after.Identity != before.Identity {
		t.Errorf("rebased, %+v is %+v", before, after)
	}
	if err := perform(ctx, h, "rebase c t"); !errors.Is(err, clade.Exists) {
		t.Errorf("a second rebase: %v, want %v", err, clade.Exists)
	}
	must(t, h, "untemplate t") // takes t:2 away; what c rests on stays
	clean(t, h, dir)
	must(t, h, "undo c")
	if undone := machine(t, h, "c"); undone.Source != before.Source || undone.Disks[0].Layer != before.Disks[0].Layer {
		t.Errorf("undone, %+v is %+v", before, undone)
	}
	for _, act := range []string{"undo c", "confirm c"} {
		if err := perform(ctx, h, act); !errors.Is(err, clade.NotFound) || !strings.Contains(err.Error(), "no rebase") {
			t.Errorf("%s of nothing: %v", act, err)
		}
	}
	must(t, h, "template m")
	must(t, h, "rebase c t")
	must(t, h, "confirm c")
	clean(t, h, dir)
}

// TestKeepChanges: what the clone changed is in its new head, its machine-id is
// still its own, and conflicts change nothing until somebody decides them.
func TestKeepChanges(t *testing.T) {
	h, dir := home(t)
	for _, act := range []string{"linked t c", "start c", "snapshot c s", "kill c", "start m", "template m"} {
		must(t, h, act)
	}
	before := machine(t, h, "c")
	to := clade.RebaseSpec{Machine: "c", To: clade.Ref{Name: "t"}, Keep: true}
	h.Appliance = vm{clash: 2}
	for _, dry := range []bool{true, false} {
		to.DryRun = dry
		r, err := h.Rebase(ctx, to, nil)
		if (err == nil) != dry || !dry && !errors.Is(err, clade.Conflicting) || r == nil || r.Done || r.Merge.Conflict != 2 {
			t.Errorf("dry %v: %+v, %v", dry, r, err)
		}
		if after := machine(t, h, "c"); after.Source != before.Source || after.Disks[0] != before.Disks[0] {
			t.Errorf("dry %v: it is %+v, was %+v", dry, after, before)
		}
	}
	clean(t, h, dir)
	to.Conflicts = clade.TemplateSide
	r, err := h.Rebase(ctx, to, nil)
	if err != nil || !r.Done || r.To != "template t:2" || r.Merge.Took != clade.TemplateSide {
		t.Fatalf("%+v, %v", r, err)
	}
	after := machine(t, h, "c")
	if after.Source != "template t:2" || after.Identity != before.Identity || after.MachineID != before.MachineID {
		t.Errorf("%+v is %+v", before, after)
	}
	if content := head(t, dir, after.ID); !strings.HasSuffix(content, carried) {
		t.Error("its head does not hold what it changed")
	}
	clean(t, h, dir)
	must(t, h, "undo c")
	if undone := machine(t, h, "c"); undone.Source != before.Source || undone.Disks[0].Base != before.Disks[0].Base {
		t.Errorf("undone, %+v is %+v", before, undone)
	}
	clean(t, h, dir)
	for _, bad := range []clade.RebaseSpec{{Machine: "c", To: to.To, Conflicts: clade.CloneSide}, {Machine: "c", To: to.To, Keep: true, Conflicts: "both"}} {
		if _, err := h.Rebase(ctx, bad, nil); !errors.Is(err, clade.Invalid) {
			t.Errorf("%+v: %v, want %v", bad, err, clade.Invalid)
		}
	}
}

// head returns what is in the head of a machine's first disk.
func head(t *testing.T, dir, id string) string {
	t.Helper()
	heads, err := filepath.Glob(filepath.Join(dir, "machines", id, "disk0-*"))
	if err != nil || len(heads) != 1 {
		t.Fatalf("heads %v, %v", heads, err)
	}
	data, err := os.ReadFile(heads[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPromote(t *testing.T) {
	h, dir := home(t)
	for _, act := range []string{"linked t c", "start c", "snapshot c s", "kill c", "promote c"} {
		must(t, h, act)
	}
	m := machine(t, h, "c")
	if m.Clone != clade.Full || m.Disks[0].Layer != "" || m.Disks[0].Base != "" {
		t.Errorf("promoted, it is %+v", m)
	}
	if err := perform(ctx, h, "promote c"); !errors.Is(err, clade.Unsupported) {
		t.Errorf("once more: %v, want %v", err, clade.Unsupported)
	}
	if err := perform(ctx, h, "reset c"); !errors.Is(err, clade.Unsupported) {
		t.Errorf("reset of a full clone: %v, want %v", err, clade.Unsupported)
	}
	for _, act := range []string{"rm m", "untemplate t", "unsnapshot c s", "start c", "kill c"} { // it needs none of them
		must(t, h, act)
	}
	if left := list(t, dir, "layers"); len(left) != 0 {
		t.Errorf("layers %v are left", left)
	}
	clean(t, h, dir)
}

func TestNotWhileItRuns(t *testing.T) {
	h, _ := home(t)
	for _, act := range []string{"linked t c", "snapshot c s", "start c"} {
		must(t, h, act)
	}
	for _, act := range []string{"restore c s", "reset c", "rebase c t", "keep c t", "undo c"} {
		if err := perform(ctx, h, act); !errors.Is(err, clade.InUse) {
			t.Errorf("%s: %v, want %v", act, err, clade.InUse)
		}
	}
	h.Driver = fake.New() // which is no Streamer
	if err := perform(ctx, h, "promote c"); !errors.Is(err, clade.Unsupported) {
		t.Errorf("promote: %v, want %v", err, clade.Unsupported)
	}
}

func TestCollect(t *testing.T) {
	h, dir := home(t)
	for _, path := range []string{"tmp/clone-x/a", "machines/y/disk0-0.qcow2", "layers/z/layer.qcow2"} {
		file := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, make([]byte, 10_000), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dry := range []bool{true, false} {
		found, err := h.Collect(ctx, dry)
		if err != nil || len(found) != 3 {
			t.Fatalf("%+v, %v; want three things", found, err)
		}
		for _, g := range found {
			if g.Bytes < 10_000 || g.Why == "" {
				t.Errorf("%+v", g)
			}
		}
	}
	if found, err := h.Collect(ctx, false); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v; want nothing left", found, err)
	}
	clean(t, h, dir)
}
