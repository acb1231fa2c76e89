//go:build integration

package foreign

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/qcow2"
)

// tool runs one of QEMU's tools and fails the test unless it ends well.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: apt-get install qemu-utils", err)
	}
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// TestDisksSurviveAnOVA sends the disks of a machine, one a chain, through an OVA
// and back, with the tools that do it.
func TestDisksSurviveAnOVA(t *testing.T) {
	dir := t.TempDir()
	base, head, data := filepath.Join(dir, "base"), filepath.Join(dir, "head"), filepath.Join(dir, "data")
	for _, d := range []struct {
		path string
		o    qcow2.Overlay
		args []string
	}{
		{base, qcow2.Overlay{Virtual: 64 * clade.MiB}, []string{"-c", "write -P 1 0 20M", "-c", "write -P 2 63M 1M"}},
		{head, qcow2.Overlay{Virtual: 96 * clade.MiB, Backing: "base", BackingFormat: "qcow2"}, []string{"-c", "write -P 3 1M 300k", "-c", "write -z 10M 5M"}},
		{data, qcow2.Overlay{Virtual: clade.GiB}, []string{"-c", "write -P 4 512M 2M"}},
	} {
		if err := qcow2.WriteOverlay(d.path, d.o); err != nil {
			t.Fatal(err)
		}
		tool(t, "qemu-io", append([]string{"-f", "qcow2", d.path}, d.args...)...)
	}
	heads := []string{head, data}
	m := &Machine{Name: "web", Hardware: clade.Hardware{CPUs: 2, Memory: clade.GiB, Firmware: clade.BIOS}, NICs: []NIC{{}},
		Disks: []Disk{{File: "web-disk0.vmdk", Virtual: 96 * clade.MiB}, {File: "web-disk1.vmdk", Virtual: clade.GiB}}}
	for i, d := range m.Disks {
		f, err := os.Create(filepath.Join(dir, d.File))
		if err != nil {
			t.Fatal(err)
		}
		if err := image.Export(t.Context(), heads[i], image.VMDK, f, d.File, nil); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	path := filepath.Join(dir, "web.ova")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := WriteOVA(t.Context(), w, m, func(d Disk) (*os.File, error) { return os.Open(filepath.Join(dir, d.File)) }, nil); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	for i, d := range s.Machine.Disks {
		file, err := s.Fetch(t.Context(), d, t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		back := filepath.Join(t.TempDir(), "back")
		virtual, err := image.Import(t.Context(), image.Source{File: file, Format: image.Format(d.Format)}, back, nil)
		if err != nil || virtual != d.Virtual {
			t.Fatalf("disk %d comes back with %v, %v, want %v", i, virtual, err, d.Virtual)
		}
		tool(t, "qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", heads[i], back)
	}
}
