package host_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
	"golang.org/x/sys/unix"
)

// openWith opens the home in dir with another appliance.
func openWith(t *testing.T, dir string, v vm) *host.Host {
	t.Helper()
	c := config(dir)
	c.Appliance = v
	h, err := host.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func machine(t *testing.T, h *host.Host, name clade.Name) *clade.Machine {
	t.Helper()
	m, err := h.Machine(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGeneralizeMachine(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	before := machine(t, h, "c")
	g, err := h.Generalize(ctx, clade.GeneralizeSpec{Machine: "c"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var r generalize.Report
	if err := json.Unmarshal(g.Report, &r); err != nil || !r.Verified || g.Result != "machine c" {
		t.Errorf("%+v, %v", g, err)
	}
	after := machine(t, h, "c")
	if after.Identity.InstanceID == before.Identity.InstanceID {
		t.Error("the machine has its old instance-id: cloud-init would do nothing")
	}
	if after.Identity.UUID != before.Identity.UUID || after.Disks[0].Layer != before.Disks[0].Layer {
		t.Errorf("it was %+v and is %+v", before, after)
	}
	clean(t, h, dir)
	must(t, h, "start c")
	must(t, h, "kill c")
}

func TestGeneralizeRefused(t *testing.T) {
	h, dir := home(t)
	must(t, h, "start m")
	for name, test := range map[string]struct {
		spec clade.GeneralizeSpec
		kind clade.Kind
	}{
		"a running machine": {clade.GeneralizeSpec{Machine: "m"}, clade.InUse},
		"no machine":        {clade.GeneralizeSpec{Machine: "x"}, clade.NotFound},
		"no layer":          {clade.GeneralizeSpec{Layer: "x", As: clade.Ref{Name: "y"}}, clade.NotFound},
		"no image":          {clade.GeneralizeSpec{Image: filepath.Join(dir, "x"), Out: "y"}, clade.NotFound},
		"nothing":           {clade.GeneralizeSpec{}, clade.Invalid},
		"two things":        {clade.GeneralizeSpec{Machine: "m", Layer: "x"}, clade.Invalid},
		"no such mark":      {clade.GeneralizeSpec{Machine: "m", Marks: clade.Marks{Disable: []string{"x"}}}, clade.Invalid},
	} {
		if _, err := h.Generalize(ctx, test.spec, nil); !errors.Is(err, test.kind) {
			t.Errorf("%s: %v, want %v", name, err, test.kind)
		}
	}
}

// A mark that is left leaves all as it was.
func TestUnprovenChangesNothing(t *testing.T) {
	h, dir := home(t)
	must(t, h, "linked t c")
	before := machine(t, h, "c")
	disk := rawImage(t)
	was := read(t, disk)
	unproven := openWith(t, dir, vm{left: "machine-id"})
	for name, act := range map[string]func() error{
		"generalize": func() error { return perform(ctx, unproven, "generalize c") },
		"mend":       func() error { return perform(ctx, unproven, "mend c") },
		"template":   func() error { return perform(ctx, unproven, "template c") },
		"image": func() error {
			_, err := unproven.Generalize(ctx, clade.GeneralizeSpec{Image: disk, InPlace: true}, nil)
			return err
		},
	} {
		if err := act(); !errors.Is(err, clade.Unproven) || !strings.Contains(err.Error(), "machine-id") {
			t.Errorf("%s: %v, want unproven and the mark named", name, err)
		}
	}
	if after := machine(t, h, "c"); after.Identity != before.Identity {
		t.Errorf("the machine was %+v and is %+v", before.Identity, after.Identity)
	}
	if !bytes.Equal(read(t, disk), was) {
		t.Error("the image changed")
	}
	clean(t, h, dir)
}

func rawImage(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	data := make([]byte, 1<<20)
	data[510], data[511] = 0x55, 0xaa // a partition table
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGeneralizeImage(t *testing.T) {
	h, dir := home(t)
	disk := rawImage(t)
	out := disk + ".out"
	g, err := h.Generalize(ctx, clade.GeneralizeSpec{Image: disk, Out: out}, nil)
	if err != nil || g.Result != "image "+out {
		t.Fatalf("%+v, %v", g, err)
	}
	if !bytes.Equal(read(t, out), read(t, disk)) { // the test's appliance erases nothing
		t.Error("the copy is not the image")
	}
	if _, err := h.Generalize(ctx, clade.GeneralizeSpec{Image: disk, Out: out}, nil); !errors.Is(err, clade.Exists) {
		t.Errorf("onto a file: %v, want %v", err, clade.Exists)
	}
	before, err := os.Stat(disk)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(disk, link); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Generalize(ctx, clade.GeneralizeSpec{Image: link, InPlace: true}, nil); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(disk)
	if err != nil || os.SameFile(before, after) || after.Mode() != before.Mode() {
		t.Errorf("in place: %v, %v; want another file of mode %v", after.Mode(), err, before.Mode())
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	clean(t, h, dir)
}

// An image that a running QEMU has open is not replaced under it.
func TestImageInUse(t *testing.T) {
	h, _ := home(t)
	disk := rawImage(t)
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: 201, Len: 1} // as QEMU says that it writes
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Generalize(ctx, clade.GeneralizeSpec{Image: disk, InPlace: true}, nil); !errors.Is(err, clade.InUse) {
		t.Errorf("%v, want %v", err, clade.InUse)
	}
}

// A foreign image that names another file is not followed.
func TestForeignBackingIsRefused(t *testing.T) {
	h, _ := home(t)
	disk := filepath.Join(t.TempDir(), "evil.qcow2")
	if err := qcow2.WriteOverlay(disk, qcow2.Overlay{Virtual: clade.MiB, Backing: "/etc/passwd", BackingFormat: "raw"}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := h.Generalize(ctx, clade.GeneralizeSpec{Image: disk, Out: out}, nil); err == nil || !strings.Contains(err.Error(), "/etc/passwd") {
		t.Errorf("%v, want the backing file named", err)
	}
	if _, err := image.Allocated(out); err == nil {
		t.Error("something was made of it")
	}
}

func TestGeneralizeLayer(t *testing.T) {
	h, dir := home(t)
	layer := machine(t, h, "m").Disks[0].Layer
	if _, err := h.Generalize(ctx, clade.GeneralizeSpec{Layer: layer, As: clade.Ref{Name: "new"}}, nil); err != nil {
		t.Fatal(err)
	}
	must(t, h, "linked new c")
	clean(t, h, dir)
}

// The gate asks for the marks that clones would share by name.
func TestGate(t *testing.T) {
	h, _ := home(t)
	spec := clade.TemplateSpec{Ref: clade.Ref{Name: "part"}, Machine: "m", Marks: clade.Marks{Disable: []string{"machine-id", "hosts"}}}
	if _, err := h.CreateTemplate(ctx, spec, nil); err != nil {
		t.Fatal(err)
	}
	raw := clade.TemplateSpec{Ref: clade.Ref{Name: "raw"}, Machine: "m", SkipGeneralize: true}
	if _, err := h.CreateTemplate(ctx, raw, nil); err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct {
		source string
		accept []string
		kind   clade.Kind
		text   string
	}{
		{"part", nil, clade.Unproven, "does not cover hosts, machine-id"},
		{"part", []string{"machine-id"}, clade.Unproven, "does not cover"},
		{"part", []string{"machine-id", "hosts"}, "", ""},
		{"part", []string{clade.AllMarks}, "", ""},
		{"part", []string{"machineid"}, clade.Invalid, "no mark"},
		{"raw", nil, clade.Unproven, "not generalized"},
		{"raw", []string{"machine-id"}, clade.Unproven, "not generalized"},
		{"raw", []string{clade.AllMarks}, "", ""},
		{"t", nil, "", ""},
	} {
		name := clade.Name("g" + string(rune('a'+i)))
		_, err := h.Clone(ctx, clade.CloneSpec{Source: test.source, Names: []clade.Name{name}, AcceptTwins: test.accept, Options: alone}, nil)
		if clade.KindOf(err) != test.kind || err != nil && !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s accepting %q: %v, want %q %q", test.source, test.accept, err, test.kind, test.text)
		}
	}
	_, err := h.Clone(ctx, clade.CloneSpec{Source: "part", Names: []clade.Name{"x"}, Options: alone}, nil)
	if hint := clade.HintOf(err); !strings.Contains(hint, "--accept-twins hosts,machine-id") {
		t.Errorf("hint %q does not say what to accept", hint)
	}
}

// A twin does not start beside a machine with its machine-id, until it is mended.
func TestStartGate(t *testing.T) {
	h, _ := home(t)
	must(t, h, "start m")
	if err := h.Wait(ctx, "m", clade.WhenAgent, nil); err != nil { // now its machine-id is known
		t.Fatal(err)
	}
	id := machine(t, h, "m").MachineID
	_, err := h.Clone(ctx, clade.CloneSpec{Source: "m", Names: []clade.Name{"twin", "other"}, AcceptTwins: []string{clade.AllMarks}, Options: alone}, nil)
	if err != nil || id == "" {
		t.Fatalf("machine-id %q, %v", id, err)
	}
	if err := perform(ctx, h, "start twin"); !errors.Is(err, clade.Exists) || !strings.Contains(err.Error(), "machine m is running and has the same machine-id "+id) {
		t.Errorf("start of a twin: %v", err)
	}
	if err := h.Start(ctx, "other", clade.StartOptions{AcceptTwins: true}, nil); err != nil {
		t.Errorf("start of an accepted twin: %v", err)
	}
	must(t, h, "mend twin")
	must(t, h, "start twin")
	must(t, h, "kill m")
	must(t, h, "kill other")
	must(t, h, "start m")
	if got := machine(t, h, "m").MachineID; got != id {
		t.Errorf("m's machine-id is %q, want %q", got, id)
	}
}

// Of twins that are started at the same time, one starts.
func TestTwinsAtOnce(t *testing.T) {
	h, _ := home(t)
	must(t, h, "start m")
	if err := h.Wait(ctx, "m", clade.WhenAgent, nil); err != nil {
		t.Fatal(err)
	}
	names := []clade.Name{"a", "b", "c", "d"}
	if _, err := h.Clone(ctx, clade.CloneSpec{Source: "m", Names: names, AcceptTwins: []string{clade.AllMarks}, Options: alone}, nil); err != nil {
		t.Fatal(err)
	}
	must(t, h, "kill m")
	var wg sync.WaitGroup
	var started atomic.Int32
	for _, name := range names {
		wg.Go(func() {
			err := h.Start(ctx, name, clade.StartOptions{}, nil)
			if err == nil {
				started.Add(1)
			} else if !errors.Is(err, clade.Exists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := started.Load(); n != 1 {
		t.Errorf("%d of %d twins run, want one", n, len(names))
	}
}

// boot makes the head of a machine one that its guest has written to.
func boot(t *testing.T, h *host.Host, dir, name string) {
	t.Helper()
	heads, err := filepath.Glob(filepath.Join(dir, "machines", machine(t, h, clade.Name(name)).ID, "disk*"))
	if err != nil || len(heads) == 0 {
		t.Fatalf("heads of %s: %q, %v", name, heads, err)
	}
	f, err := os.OpenFile(heads[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := make([]byte, 8)
	_, err = f.ReadAt(table, 40) // where the L1 table is
	if err == nil {
		_, err = f.WriteAt([]byte{0x80, 0, 0, 0, 0, 1, 0, 0}, int64(binary.BigEndian.Uint64(table)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Clones that were never started are what their layers are: one of each kind is
// read, and all are told what it has.
func TestAuditReadsFreshClonesOnce(t *testing.T) {
	h, dir := home(t)
	for _, act := range []string{"linked t a", "linked t b", "linked t c", "full t d"} {
		must(t, h, act)
	}
	boot(t, h, dir, "c")
	var asked [][]appliance.Disk
	var of identity.Extent
	const twin = "00112233445566778899aabbccddeeff"
	h = openWith(t, dir, vm{asked: &asked, of: &of, marks: map[string]string{machine(t, h, "a").ID: twin}})
	result, err := h.Audit(ctx, clade.AuditSpec{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if of != identity.Outline {
		t.Errorf("the marks are read to the extent %q", of)
	}
	for _, r := range result.Read {
		want := []string(nil)
		if r.Name == "a" || r.Name == "b" {
			want = []string{"logs"}
		}
		if r.Found != len(want) || !slices.Equal(r.Residue, want) {
			t.Errorf("%s: %d places of marks that are compared, residue %q; want %d, %q", r.Name, r.Found, r.Residue, len(want), want)
		}
	}
	// a for a and b; c, d and m for themselves.
	if len(asked) != 4 || len(result.Read) != 5 {
		t.Errorf("%d of %d machines were read, want 4 of 5", len(asked), len(result.Read))
	}
	if len(result.Shared) != 1 || strings.Join(result.Shared[0].Machines, " ") != "a b" || machine(t, h, "b").MachineID != twin {
		t.Errorf("shared: %+v, and b has machine-id %q; want what a has", result.Shared, machine(t, h, "b").MachineID)
	}
}

func TestAudit(t *testing.T) {
	h, dir := home(t)
	for _, act := range []string{"linked t a", "linked t b", "linked t c"} {
		must(t, h, act)
	}
	for _, name := range []string{"a", "b", "c"} {
		boot(t, h, dir, name)
	}
	disk := rawImage(t)
	const twin, own = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
	h = openWith(t, dir, vm{marks: map[string]string{
		machine(t, h, "a").ID: twin, machine(t, h, "b").ID: twin, machine(t, h, "c").ID: own, disk: own}})
	for _, test := range []struct {
		spec   clade.AuditSpec
		read   int
		shared string
	}{
		{clade.AuditSpec{}, 4, "machine-id a b"},
		{clade.AuditSpec{Machines: []clade.Name{"a", "c"}}, 2, ""},
		{clade.AuditSpec{Machines: []clade.Name{"b"}}, 4, "machine-id a b"},
		{clade.AuditSpec{Machines: []clade.Name{"c"}}, 4, ""},
		{clade.AuditSpec{Images: []string{disk, filepath.Join(dir, "none")}}, 2, ""},
	} {
		result, err := h.Audit(ctx, test.spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range result.Shared {
			got += s.Mark + " " + strings.Join(s.Machines, " ")
		}
		if len(result.Read) != test.read || got != test.shared {
			t.Errorf("audit of %+v: %d read, shared %q; want %d, %q", test.spec, len(result.Read), got, test.read, test.shared)
		}
	}
	if got := machine(t, h, "a").MachineID; got != twin {
		t.Errorf("the machine-id that was read is not recorded: %q", got)
	}
	if _, err := h.Audit(ctx, clade.AuditSpec{Machines: []clade.Name{"x"}}, nil); !errors.Is(err, clade.NotFound) {
		t.Errorf("audit of nobody: %v", err)
	}
	images, err := h.Audit(ctx, clade.AuditSpec{Images: []string{disk, filepath.Join(dir, "none")}}, nil)
	if err != nil || !slices.ContainsFunc(images.Read, func(r clade.AuditRead) bool { return strings.Contains(r.Error, "no such file") }) {
		t.Errorf("a missing image: %+v, %v", images, err)
	}
}

// Image files have no name by which they could be mended.
func TestAuditOfImagesSaysHowToMendThem(t *testing.T) {
	_, dir := home(t)
	one, two := rawImage(t), rawImage(t)
	const twin = "00112233445566778899aabbccddeeff"
	h := openWith(t, dir, vm{marks: map[string]string{one: twin, two: twin}})
	a, err := h.Audit(ctx, clade.AuditSpec{Images: []string{one, two}}, nil)
	if err != nil || len(a.Shared) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	if want := "clade generalize --in-place --image " + a.Shared[0].Machines[1]; a.Shared[0].Mend != want {
		t.Errorf("the way out is %q, want %q", a.Shared[0].Mend, want)
	}
}
