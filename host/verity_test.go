package host_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
)

// note records of a layer that the kernel measured it.
func note(t *testing.T, dir, id, verity string) {
	t.Helper()
	change(t, dir, id, func(l *clade.Layer) { l.Verity = verity })
}

// change changes what is recorded of a layer.
func change(t *testing.T, dir, id string, do func(*clade.Layer)) {
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
				do(l)
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

// asItIs records the facts of a layer's file as they are, without a measure.
func asItIs(t *testing.T, dir, id, path string) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	change(t, dir, id, func(l *clade.Layer) {
		l.Inode, l.Modified, l.Changed, l.Verity = st.Ino, st.Mtim.Nano(), st.Ctim.Nano(), ""
	})
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

// inKernel skips a test where the kernel does not check sealed files. The one of the
// appliance does, and there these tests are run, too (appliance: TestHomeInKernel).
func inKernel(t *testing.T) {
	t.Helper()
	if !image.Verities(t.TempDir()) {
		t.Skip("no fs-verity here: " + t.TempDir())
	}
}

// allChecked wants that the kernel checks all layers, as recorded, and device states.
func allChecked(t *testing.T, h *host.Host, after string) {
	t.Helper()
	l, err := h.Lineage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range l.Layers {
		if is, err := image.Verity(filepath.Join(h.Dir, "layers", layer.ID, "layer.qcow2")); err != nil || is == "" || is != layer.Verity {
			t.Errorf("after %s: layer %s: recorded is %q, the kernel says %q, %v", after, layer.ID, layer.Verity, is, err)
		}
	}
	for _, w := range l.Warm {
		for _, f := range w.Files {
			if (f.Verity != "") != (f.Name == "state") {
				t.Errorf("after %s: %s is recorded as %q", after, f.Name, f.Verity)
			}
		}
	}
}

// uncheck puts a copy of a layer's file in its place, as copying a home does.
func uncheck(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(path+".new", data, 0o444), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// TestKernelChecks: however layers come into the home, the kernel checks them; it keeps
// everybody from writing; a home that was copied gets its checks back, and kills lose none.
func TestKernelChecks(t *testing.T) {
	inKernel(t)
	h, dir := home(t)
	allChecked(t, h, "template")
	bundle := filepath.Join(t.TempDir(), "bundle")
	for _, act := range []string{"warm t", "export t " + bundle,
		"untemplate t", "import t " + bundle} {
		must(t, h, act)
		allChecked(t, h, act)
	}
	must(t, h, "linked t c")
	id, path := layerOf(t, h, dir, "c")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := os.OpenFile(path, os.O_RDWR, 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("open for writing = %v, %v, want %v", f, err, syscall.EPERM)
	}
	uncheck(t, path)
	if err := perform(ctx, h, "start c"); !errors.Is(err, clade.Corrupt) {
		t.Errorf("start on a copy = %v, want %v", err, clade.Corrupt)
	}
	if _, err := h.Verify(ctx, clade.VerifySpec{}, nil); err != nil {
		t.Error(err)
	}
	allChecked(t, h, "copy")
	note(t, dir, id, "sha256:"+strings.Repeat("0", 64))
	if err := perform(ctx, h, "start c"); !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "measures") {
		t.Errorf("start of what is measured as something else = %v, want %v", err, clade.Corrupt)
	}
	must(t, h, "verify c")
	sealingKilled(t, h, id, path)
	clean(t, h, dir)
}

// sealingKilled: a verify that seals the layer of c again, which is intact, never keeps
// c from starting, wherever it dies, and in the end the kernel checks the layer.
func sealingKilled(t *testing.T, h *host.Host, id, path string) {
	t.Helper()
	for _, step := range []int{2, 3, 0} { // noted; sealed; recorded, and it came through
		uncheck(t, path)
		asItIs(t, h.Dir, id, path)
		out, err := exec.Command(os.Args[0], "child", h.Dir, "verify c", strconv.Itoa(step)).CombinedOutput()
		exit, _ := errors.AsType[*exec.ExitError](err)
		died := exit != nil && exit.Sys().(syscall.WaitStatus).Signaled()
		if died != (step > 0) || err != nil && !died {
			t.Fatalf("step %d: %v\n%s", step, err, out)
		}
		must(t, h, "start c")
		must(t, h, "kill c")
		must(t, h, "verify c") // to its end, so that the next one does not go on with this one
		allChecked(t, h, "step "+strconv.Itoa(step))
	}
}
