package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance/guest"
)

// A poisoned VM is one that some disks bring down. It tells every machine's system
// by the path of its first disk, and answers the last request first.
type poisoned struct {
	falls, refused string // what is in the paths of disks that do
	boots          int
}

func (v *poisoned) run(ctx context.Context, disks []Disk, cpus int, p clade.Progress, work func(*session) error) error {
	v.boots++
	for i, d := range disks {
		if v.refused != "" && strings.Contains(d.Path, v.refused) {
			return &clade.Error{Kind: clade.Corrupt, Err: &complaint{disk: i, text: "refused"}}
		}
		if !d.ReadOnly {
			return fmt.Errorf("%s can be written", d.Path)
		}
	}
	ours, theirs := net.Pipe()
	var guests sync.WaitGroup
	guests.Go(func() { v.serve(theirs, disks, cpus) })
	defer guests.Wait()
	defer ours.Close()
	gone := make(chan struct{})
	close(gone)
	return work(&session{vm: &vm{port: ours, console: &tail{limit: 100}, errs: &tail{limit: 100}, done: gone}})
}

func (v *poisoned) serve(port net.Conn, disks []Disk, cpus int) {
	defer port.Close()
	var waiting []guest.Request
	for asked := 0; ; {
		var req guest.Request
		if guest.ReadFrame(port, &req) != nil {
			return
		}
		waiting = append(waiting, req)
		asked += len(req.Disks)
		for len(waiting) > cpus || asked == len(disks) && len(waiting) > 0 {
			last := len(waiting) - 1
			if !v.answer(port, disks, waiting[last]) {
				return
			}
			waiting = waiting[:last]
		}
	}
}

// answer reports whether the VM lives on.
func (v *poisoned) answer(port net.Conn, disks []Disk, req guest.Request) bool {
	var first int
	if _, err := fmt.Sscanf(req.Disks[0], "clade-%d", &first); err != nil {
		panic(err)
	}
	path := disks[first].Path
	if v.falls != "" && strings.Contains(path, v.falls) {
		return false
	}
	text, _ := json.Marshal(guest.Machine{System: path}) // of strings only
	return guest.WriteFrame(port, guest.Reply{ID: req.ID, Last: true, Result: text}) == nil
}

// read reads machines of so many disks each, whose paths are given.
func (v *poisoned) read(t *testing.T, paths []string, disks int) []Result {
	t.Helper()
	r := reader{run: v.run, results: make([]Result, len(paths))}
	var all []int
	for i, path := range paths {
		machine := make([]Disk, disks)
		machine[0].Path = path
		r.machines, all = append(r.machines, machine), append(all, i)
	}
	if err := r.read(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return r.results
}

func TestReadWhoseFault(t *testing.T) {
	var paths []string
	for i := range 40 {
		paths = append(paths, fmt.Sprintf("/good-%d", i))
	}
	paths[7], paths[8], paths[39], paths[20] = "/falls-1", "/falls-2", "/falls-3", "/refused"
	for disks := 1; disks <= 20; disks += 19 {
		v := &poisoned{falls: "falls", refused: "refused"}
		for i, r := range v.read(t, paths, disks) {
			bad := !strings.HasPrefix(paths[i], "/good")
			if bad != (r.Err != nil) || !bad && r.System != paths[i] {
				t.Errorf("machine %d (%s) of %d disks: %+v", i, paths[i], disks, r)
			}
			if paths[i] == "/refused" && !errors.Is(r.Err, clade.Corrupt) {
				t.Errorf("a disk that QEMU refuses: %v, want corrupt", r.Err)
			}
		}
		t.Logf("%d disks each: %d boots", disks, v.boots)
	}
}

func TestReadOneBoot(t *testing.T) {
	paths := make([]string, MaxDisks)
	v := &poisoned{}
	v.read(t, paths, 1)
	if v.boots != 1 {
		t.Errorf("%d disks took %d boots, want 1", len(paths), v.boots)
	}
	v.boots = 0
	v.read(t, paths, 2)
	if v.boots != 2 {
		t.Errorf("%d disks took %d boots, want 2", 2*len(paths), v.boots)
	}
}
