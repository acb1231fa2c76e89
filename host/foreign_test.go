package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// TestForeseenIsWhatIsMade: a dry run says what the import makes then, and makes nothing.
func TestForeseenIsWhatIsMade(t *testing.T) {
	h, dir := home(t)
	disk := filepath.Join(t.TempDir(), "db.raw")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, int64(8*clade.MiB)); err != nil {
		t.Fatal(err)
	}
	xml := filepath.Join(t.TempDir(), "db.xml")
	text := `<domain type='kvm'><name>DB</name><memory unit='MiB'>512</memory><vcpu>3</vcpu><os><type>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + disk + `'/><target dev='vda' bus='sata'/></disk></devices></domain>`
	if err := os.WriteFile(xml, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := clade.ImportSpec{From: xml, DryRun: true, Options: clade.Options{Hostname: "other"}}
	before, err := h.Machines(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f, err := h.ImportForeign(ctx, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []clade.Origin{{File: disk, Format: "raw", Bytes: 8 * clade.MiB}}; !reflect.DeepEqual(f.From, want) {
		t.Errorf("it is made from %+v, want %+v", f.From, want)
	}
	if after, err := h.Machines(ctx); err != nil || len(after) != len(before) {
		t.Errorf("after a dry run there are %d machines, %v; want %d", len(after), err, len(before))
	}
	clean(t, h, dir)
	spec.DryRun = false
	made, err := h.ImportForeign(ctx, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen, is := f.Machine, made.Machine
	if seen.Name != "db" || seen.Name != is.Name || seen.Hardware != is.Hardware || seen.Network != is.Network || seen.Source != is.Source ||
		seen.Identity.Hostname != "other" || len(seen.Disks) != len(is.Disks) || !strings.Contains(strings.Join(f.Notes, "\n"), "sata") {
		t.Errorf("foreseen was %+v (%q), made is %+v", seen, f.Notes, is)
	}
	spec.DryRun = true
	if _, err := h.ImportForeign(ctx, spec, nil); !errors.Is(err, clade.Exists) {
		t.Errorf("a dry run for a name that is taken: %v, want kind %q", err, clade.Exists)
	}
	spec.Name = "another"
	if err := os.WriteFile(disk, []byte(strings.Repeat("secret", 1<<16)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ImportForeign(ctx, spec, nil); !errors.Is(err, clade.Invalid) {
		t.Errorf("a dry run of what is no disk: %v, want kind %q", err, clade.Invalid)
	}
	if err := os.Remove(disk); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ImportForeign(ctx, spec, nil); !errors.Is(err, clade.NotFound) {
		t.Errorf("a dry run without the disk's file: %v, want kind %q", err, clade.NotFound)
	}
}
