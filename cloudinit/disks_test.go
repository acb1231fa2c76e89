package cloudinit

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// TestDataDisksAreAPartOfTheirOwn: what the user's configuration says of mounts and
// boot commands replaces nothing of it.
func TestDataDisksAreAPartOfTheirOwn(t *testing.T) {
	s := testSeed()
	plain := read(t, s)["vendor-data"]
	s.Disks = []Disk{{"abc-1", "data", "/data"}, {"abc-2", "home", "/home"}}
	archive, ok := bytes.CutPrefix(read(t, s)["vendor-data"], []byte("#cloud-config-archive\n"))
	var parts []struct{ Type, Content string }
	if err := json.Unmarshal(archive, &parts); err != nil || !ok || len(parts) != 2 {
		t.Fatalf("vendor-data = %s, %v; want an archive of two parts", archive, err)
	}
	if parts[0].Type != "text/cloud-config" || parts[0].Content != string(plain) {
		t.Errorf("the first part = %+v, want what a seed without disks has", parts[0])
	}
	hook := parts[1]
	if hook.Type != "text/cloud-boothook" || !strings.HasPrefix(hook.Content, "#!/bin/sh\n") ||
		!strings.HasSuffix(hook.Content, "}\ndata_disk 'abc-1' 'data' '/data'\ndata_disk 'abc-2' 'home' '/home'\nexit $status\n") {
		t.Errorf("the second part = %+v", hook)
	}
}

func TestDataDisksAreRefused(t *testing.T) {
	for about, d := range map[string]Disk{
		"serial":   {"a'b", "data", "/data"},
		"label":    {"a", "data;", "/data"},
		"relative": {"a", "data", "data"},
		"quote":    {"a", "data", "/da'ta"},
		"line":     {"a", "data", "/data\n/etc"},
		"root":     {"a", "data", "/"},
	} {
		s := testSeed()
		s.Disks = []Disk{d}
		if err := s.Write(filepath.Join(t.TempDir(), "seed.img")); !errors.Is(err, clade.Invalid) {
			t.Errorf("%s: error = %v, want %v", about, err, clade.Invalid)
		}
	}
	s := testSeed()
	s.Disks = make([]Disk, maxDisks+1)
	if err := s.Write(filepath.Join(t.TempDir(), "seed.img")); !errors.Is(err, clade.Invalid) {
		t.Errorf("%d disks: error = %v, want %v", len(s.Disks), err, clade.Invalid)
	}
}
