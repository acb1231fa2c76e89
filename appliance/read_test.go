//go:build integration

package appliance

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

// TestReadMany reads ten disks, one of them broken and one locked, in one boot,
// and shows that no byte of them changed.
func TestReadMany(t *testing.T) {
	a, ctx := boot(t)
	var machines [][]Disk
	var before []string
	for i := range 8 {
		id := fmt.Sprintf("%032x", i+1)
		files := with(map[string]string{"etc/machine-id": id + "\n", "etc/hostname": fmt.Sprintf("web-%d\n", i)})
		machines = append(machines, []Disk{{Path: ext4(t, grow(t, files, all), "64M"), Format: Raw}})
	}
	machines = append(machines, marked(t), lockedRoot(t))
	for _, m := range machines {
		before = append(before, digest(t, m[0].Path))
	}
	began := time.Now()
	results, err := a.Read(ctx, machines, identity.Whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("took %v", time.Since(began))
	for i, r := range results[:8] {
		id := fmt.Sprintf("%032x", i+1)
		if r.Err != nil || r.Reading.MachineID != id || r.Reading.Hostname != fmt.Sprintf("web-%d", i) || len(r.Findings) < 5 {
			t.Errorf("machine %d: %+v %+v, want machine-id %s and its marks", i, r, r.Reading, id)
		}
	}
	if r := results[8]; r.Err != nil || r.Reading.MachineID != plantedID {
		t.Errorf("a file system with errors: %+v, want it read all the same", r)
	}
	if err := results[9].Err; err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a locked disk: %v, want that said", err)
	}
	for i, m := range machines {
		if digest(t, m[0].Path) != before[i] {
			t.Errorf("disk %d was written", i)
		}
	}
	orphans(t)
}

// TestReadFleet reads more disks than there are slots for devices of their own:
// all rest on one layer, as linked clones do.
func TestReadFleet(t *testing.T) {
	a, ctx := boot(t)
	base := plain(t)
	one := [][]Disk{{{Path: base, Format: Raw}}}
	began := time.Now()
	whole, err := a.Read(ctx, one, identity.Whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	single := time.Since(began)
	var machines [][]Disk
	for range 50 {
		machines = append(machines, one[0])
	}
	began = time.Now()
	results, err := a.Read(ctx, machines, identity.Outline, nil)
	if err != nil {
		t.Fatal(err)
	}
	marks := marksOf(whole[0].Findings)
	t.Logf("one disk %v, 50 disks %v", single, time.Since(began))
	for i, r := range results {
		if r.Err != nil || r.Reading.MachineID != plantedID {
			t.Errorf("machine %d: %+v", i, r)
		}
		if got := marksOf(r.Findings); !slices.Equal(got, marks) {
			t.Errorf("machine %d has %q, want %q", i, got, marks)
		}
	}
}

// TestReadRefused reads machines of which one has a disk that QEMU will not open
// and one a disk that another VM writes to: the others are read all the same.
func TestReadRefused(t *testing.T) {
	a, ctx := boot(t)
	used := []Disk{{Path: plain(t), Format: Raw}}
	bad := filepath.Join(t.TempDir(), "bad.qcow2")
	command(t, "", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", plain(t), bad)
	patch(t, bad, 72, []byte{0, 0, 0, 0, 0, 0, 0x80, 0}) // a feature that no QEMU knows
	good := []Disk{{Path: plain(t), Format: Raw}}
	machines := [][]Disk{good, {{Path: bad, Format: Qcow2}}, used, good}
	err := a.run(ctx, used, 1, nil, func(*session) error {
		results, err := a.Read(ctx, machines, identity.Whole, nil)
		if err != nil {
			return err
		}
		for i, want := range []clade.Kind{"", clade.Unsupported, clade.InUse, ""} {
			err := results[i].Err
			if want == "" && err != nil || want != "" && !errors.Is(err, want) {
				t.Errorf("machine %d: %v (%s), want %q", i, err, clade.KindOf(err), want)
			}
			if want != "" && !strings.Contains(fmt.Sprint(err), machines[i][0].Path) {
				t.Errorf("machine %d: %v does not name the disk", i, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	orphans(t)
}
