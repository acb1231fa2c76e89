package host_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// dataHead is the file that a machine's second disk writes to.
func dataHead(t *testing.T, dir string, m *clade.Machine) os.FileInfo {
	t.Helper()
	fi, err := os.Stat(dataHeadPath(t, dir, m))
	if err != nil {
		t.Fatal(err)
	}
	return fi
}

func dataHeadPath(t *testing.T, dir string, m *clade.Machine) string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "machines", m.ID, "disk1-*.qcow2"))
	if len(files) != 1 {
		t.Fatalf("the data disk has the files %v, want one", files)
	}
	return files[0]
}

// TestDataDiskStays: whatever becomes of the system, the data disk goes on being the
// same file on nothing.
func TestDataDiskStays(t *testing.T) {
	h, dir := home(t)
	must(t, h, "data t c")
	c := machine(t, h, "c")
	want := clade.Disk{Slot: 1, Serial: c.ID + "-1", Virtual: clade.GiB, Label: "data", Mount: "/data"}
	if len(c.Disks) != 2 || c.Disks[1] != want || c.Disks[0].Data() {
		t.Fatalf("the disks are %+v, want a second one %+v", c.Disks, want)
	}
	before := dataHead(t, dir, c)
	must(t, h, "template m")
	for _, act := range []string{"start c", "snapshot c s", "kill c", "reset c", "restore c s", "rebase c t", "undo c", "rebase c t", "confirm c",
		"generalize c", "mend c", "promote c"} {
		system := machine(t, h, "c").Disks[0]
		must(t, h, act)
		now := machine(t, h, "c")
		if !os.SameFile(before, dataHead(t, dir, now)) || now.Disks[1] != want {
			t.Errorf("%s: the data disk is %+v now", act, now.Disks[1])
		}
		if act == "snapshot c s" && now.Disks[0].Layer == system.Layer {
			t.Errorf("%s: the system disk was not frozen", act)
		}
	}
	if s, err := h.Snapshots(ctx, "c"); err != nil || len(s) != 1 || len(s[0].Disks) != 1 {
		t.Errorf("Snapshots = %+v, %v; want one of the system disk alone", s, err)
	}
	clean(t, h, dir)
}

// TestDataDiskIsInTheSeed: the guest is told which disk it is, and where it belongs.
func TestDataDiskIsInTheSeed(t *testing.T) {
	h, dir := home(t)
	must(t, h, "data t c")
	must(t, h, "start c")
	c := machine(t, h, "c")
	seed, err := os.ReadFile(filepath.Join(dir, "machines", c.ID, "seed.img"))
	if err != nil || !bytes.Contains(seed, []byte("data_disk '"+c.ID+"-1' 'data' '/data'")) {
		t.Errorf("the seed (%v) does not name the data disk %s-1", err, c.ID)
	}
}

// TestDataDisksAreNotCarried: neither templates nor clones of a machine have its data
// disks unless that is asked for.
func TestDataDisksAreNotCarried(t *testing.T) {
	h, dir := home(t)
	must(t, h, "data t c")
	twins := clade.CloneSpec{Source: "c", AcceptTwins: []string{clade.AllMarks}, Options: alone}
	check := func(about string, withData bool, disks []clade.Disk) {
		t.Helper()
		if len(disks) != map[bool]int{false: 1, true: 2}[withData] || withData && (disks[1].Label != "data" || disks[1].Mount != "/data" || disks[1].Virtual != clade.GiB) {
			t.Errorf("%s: the disks are %+v", about, disks)
		}
	}
	for _, withData := range []bool{false, true} {
		for _, state := range []string{"stopped", "running"} {
			for _, kind := range []clade.CloneKind{clade.Linked, clade.Full} {
				twins.Names, twins.WithData, twins.Kind = []clade.Name{"x"}, withData, kind
				plan, err := h.PlanClone(ctx, twins)
				if wide := plan.Virtual > machine(t, h, "c").Disks[0].Virtual; err != nil || wide != withData {
					t.Errorf("PlanClone with data %v = %+v, %v", withData, plan, err)
				}
				made, err := h.Clone(ctx, twins, nil)
				if err != nil {
					t.Fatal(err)
				}
				check("a "+string(kind)+" clone of a "+state+" machine", withData, made[0].Disks)
				clean(t, h, dir)
				must(t, h, "rm x")
			}
			tpl, err := h.CreateTemplate(ctx, clade.TemplateSpec{Ref: clade.Ref{Name: "with"}, Machine: "c", WithData: withData}, nil)
			if err != nil {
				t.Fatal(err)
			}
			made, err := h.Clone(ctx, clade.CloneSpec{Source: tpl.Ref().String(), Names: []clade.Name{"x"}, Options: alone}, nil)
			if err != nil {
				t.Fatal(err)
			}
			check("a clone of a template of a "+state+" machine", withData, made[0].Disks)
			must(t, h, "rebase x t") // to one without
			check("rebased", withData, machine(t, h, "x").Disks)
			must(t, h, "rm x")
			must(t, h, map[string]string{"stopped": "start c", "running": "kill c"}[state])
		}
	}
	clean(t, h, dir)
}

// TestDataDisksTravel: a bundle of a machine, or of a template with data, has them.
func TestDataDisksTravel(t *testing.T) {
	h, _ := home(t)
	must(t, h, "data t c")
	if _, err := h.CreateTemplate(ctx, clade.TemplateSpec{Ref: clade.Ref{Name: "with"}, Machine: "c", WithData: true}, nil); err != nil {
		t.Fatal(err)
	}
	away := t.TempDir()
	other := open(t, away)
	for _, name := range []string{"c", "with"} {
		file := filepath.Join(t.TempDir(), name)
		must(t, h, "export "+name+" "+file)
		must(t, other, "import "+name+" "+file)
	}
	must(t, other, "linked with d")
	for _, name := range []clade.Name{"c", "d"} {
		m := machine(t, other, name)
		if len(m.Disks) != 2 || m.Disks[1].Label != "data" || m.Disks[1].Mount != "/data" || m.Disks[1].Base != "" {
			t.Errorf("the disks of %s arrived as %+v", name, m.Disks)
		}
	}
	clean(t, other, away)
}

// TestDataDisksAreRefused: by what is asked, and by what the source has.
func TestDataDisksAreRefused(t *testing.T) {
	h, _ := home(t)
	must(t, h, "data t c")
	again := alone
	again.DataDisks = []clade.DataDisk{{Size: clade.GiB, Label: "data"}}
	spec := clade.CloneSpec{Source: "c", Names: []clade.Name{"x"}, AcceptTwins: []string{clade.AllMarks}, WithData: true, Options: again}
	if _, err := h.Clone(ctx, spec, nil); !errors.Is(err, clade.Invalid) {
		t.Errorf("a label that the source has: error %v, want kind %q", err, clade.Invalid)
	}
	again.DataDisks = []clade.DataDisk{{Size: clade.GiB, Mount: "/etc"}}
	if _, err := h.Build(ctx, clade.BuildSpec{Recipe: "debian-12", Name: "x", Options: again}, nil); !errors.Is(err, clade.Invalid) {
		t.Errorf("mounted on /etc: error %v, want kind %q", err, clade.Invalid)
	}
	again.DataDisks = []clade.DataDisk{{Size: 5 * clade.GiB, Label: "one"}, {Size: clade.GiB}}
	if m, err := h.Build(ctx, clade.BuildSpec{Recipe: "debian-12", Name: "x", Options: again}, nil); err != nil || len(m.Disks) != 3 || m.Disks[1].Label != "one" {
		t.Errorf("Build with two = %+v, %v", m, err)
	}
}

// virtualOf is what a file says of its disk's size.
func virtualOf(t *testing.T, path string) clade.Bytes {
	t.Helper()
	info, err := qcow2.InspectFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Virtual
}

func TestDataDiskIsAsLargeAsAsked(t *testing.T) {
	h, dir := home(t)
	must(t, h, "data t c")
	c := machine(t, h, "c")
	if got := virtualOf(t, filepath.Join(dir, "machines", c.ID, dataHead(t, dir, c).Name())); got != clade.GiB {
		t.Errorf("its file is for a disk of %v, want %v", got, clade.GiB)
	}
}
