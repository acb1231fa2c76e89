//go:build integration

package host_test

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/google/go-containerregistry/pkg/registry"
)

var (
	deedsOneIn = flag.Int("deeds", 30, "one in how many faults is tried in acts that the model does not have; with -faults 0, each is")
	deedsWith  = flag.String("deed", "", "only the deeds with this in their name")
)

// feats are deeds that are not killed after each step, of which some have none. REG is
// a registry, DIR the home.
var feats = map[string]deed{
	"push":           {nil, "push t REG:1", func(*host.Host) bool { return true }, 0},
	"pull":           {[]string{"push t REG:1", "untemplate t", "rm m"}, "pull REG:1", hasTemplates(1), 0},
	"take":           {[]string{"image DIR/disk.raw"}, "take x DIR/disk.raw", hasMachine("x"), 0},
	"network":        {nil, "network n", hasNetwork(true), 0},
	"remove network": {[]string{"network n"}, "unnetwork n", hasNetwork(false), 0},
	"update of pool": {[]string{"pool p reset", "settle p", "template m"}, "update p 2", isAt("2"), 0},
	"repair":         {[]string{"start m", "kill m", "spoil DIR/spare"}, "repair t DIR/spare", isIntact, 0},
}

// found are the faults that found a mistake once, by the deed and the call: they are
// tried each time.
var found = map[string]string{
	"claim":           "open machines/ID/machine.lock",
	"compact running": "sync machines/ID/disk0-2.qcow2",
	"cool":            "unlink warm/ID/ram",
	"forget memory":   "unlink machines/ID/memory-ID",
	"remove network":  "open run/net/n/ctl.lock",
	"repair":          "open tmp/repair-ID/repaired",
	"update of pool":  "open machines/ID/machine.lock",
}

func hasNetwork(has bool) func(*host.Host) bool {
	return func(h *host.Host) bool {
		_, err := h.Network(ctx, "n")
		return (err == nil) == has
	}
}

// isAt tells whether the pool makes its machines of that version.
func isAt(version string) func(*host.Host) bool {
	return func(h *host.Host) bool {
		p, err := h.Pool(ctx, "p")
		return err == nil && p.Template.Version == version
	}
}

func isIntact(h *host.Host) bool {
	_, err := h.Verify(ctx, clade.VerifySpec{}, nil)
	return err == nil
}

// TestFaultsOfDeeds is TestFaults for the acts that the model does not have: warm
// templates, instant clones, pools, registries, networks. Each fault is in a home of its
// own. The act did not happen, or says that it did, nothing is left of it, and it can be
// done again.
func TestFaultsOfDeeds(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	x := newTrap(t, "")
	all := maps.Clone(deeds)
	maps.Copy(all, feats)
	var faults, refused atomic.Int64
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if d := all[name]; strings.Contains(name, *deedsWith) {
			t.Run(name, func(t *testing.T) {
				s := &sufferer{x: x, deed: d, name: name, registry: strings.TrimPrefix(server.URL, "http://")}
				for _, f := range s.faults(t) {
					t.Run(f.String(), func(t *testing.T) {
						faults.Add(1)
						if s.endure(t, f) {
							refused.Add(1)
						}
					})
				}
			})
		}
	}
	t.Logf("%d faults in %d acts, %d of them refused", faults.Load(), len(all), refused.Load())
}

// A sufferer does one deed with faults.
type sufferer struct {
	deed
	x              *trap
	name, registry string
}

// home makes a home in which the deed can be done.
func (s *sufferer) home(t *testing.T) (h *host.Host, dir string) {
	t.Helper()
	dir = scratch(t)
	h = open(t, dir)
	for _, act := range append([]string{"build m", "template m"}, s.before...) {
		switch verb, path, _ := strings.Cut(s.words(act, dir), " "); verb {
		case "image":
			raw, err := os.ReadFile(rawImage(t))
			if err = errors.Join(err, os.WriteFile(path, raw, 0o600)); err != nil {
				t.Fatal(err)
			}
		case "spoil":
			_, layer := layerOf(t, h, dir, "m")
			raw := read(t, layer)
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			damage(t, layer)
		default:
			must(t, h, s.words(act, dir))
		}
	}
	return h, dir
}

// words are those of an act in one home, which has a repository of its own.
func (s *sufferer) words(act, dir string) string {
	return strings.NewReplacer("DIR", dir, "REG", fmt.Sprintf("%s/%x", s.registry, sha256.Sum256([]byte(dir)))).Replace(act)
}

// faults does the deed without one, and chooses those there could be.
func (s *sufferer) faults(t *testing.T) (list []fault) {
	h, dir := s.home(t)
	var calls []call
	s.x.move(dir)
	kind, text, err := s.x.do(asDeed+s.words(s.act, dir), func(c call) syscall.Errno { calls = append(calls, c); return 0 })
	if err != nil || kind != "" || !s.happen(h) {
		t.Fatalf("without a fault: %s (%v), happened: %v", text, err, s.happen(h))
	}
	for _, f := range faultsOf(s.name, calls) {
		if *faultsOfAKind == 0 || f.hash()%uint32(*deedsOneIn) == 0 || found[s.name] == f.call.sign() {
			list = append(list, f)
		}
	}
	return list
}

// endure does the deed with one fault and looks at what is left.
func (s *sufferer) endure(t *testing.T, f fault) (failed bool) {
	h, dir := s.home(t)
	before := digests(t, h)
	s.x.move(dir)
	kind, text, err := s.x.do(asDeed+s.words(s.act, dir), f.judge())
	if err != nil {
		t.Fatal(err)
	}
	happened := s.happen(h)
	controls := strings.HasPrefix(s.act, "reconcile") // what fails of it is done in the next round
	switch {
	case kind == "" && !happened && !controls:
		t.Error("it came through and did not happen")
	case kind == clade.Busy && s.name == "claim" && strings.HasPrefix(text, "claim pool p: no machine is ready"): // in which run it is cannot be read
	case kind != "" && (!slices.Contains(f.kinds(), kind) || text == ""):
		t.Errorf("its kind is %q (%s), want one of %q", kind, text, f.kinds())
	case kind != "" && happened && s.tells() && !strings.Contains(text, "it is done") && !strings.Contains(text, "the commit failed"):
		t.Errorf("it says %q, and happened", text)
	}
	must(t, h, "build next") // any next command cleans up
	if err := s.counted(h, dir); err != nil {
		t.Errorf("%s; after the next command: %v", text, err)
	}
	if err := s.again(h, dir); err != nil {
		t.Errorf("%s; once more: %v", text, err)
	}
	if !s.happen(h) {
		t.Errorf("%s; once more it did not happen", text)
	}
	if _, err := h.Collect(ctx, false); err != nil {
		t.Error(err)
	}
	if err := s.counted(h, dir); err != nil {
		t.Errorf("%s; in the end: %v", text, err)
	}
	clean(t, h, dir)
	whole(t, h, dir)
	for _, pid := range lost(dir) {
		t.Errorf("%s; process %d is a machine that nobody finds", text, pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for id, digest := range digests(t, h) {
		if was := before[id]; was != "" && was != digest {
			t.Errorf("layer %s changed", id)
		}
	}
	return kind != ""
}

// tells is false of deeds after which nothing tells whether they happened, or that are
// gone on with by the next command.
func (s *sufferer) tells() bool {
	verb, _, _ := strings.Cut(s.act, " ")
	return !slices.Contains([]string{"push", "reconcile", "start", "compact", "promote", "repair"}, verb)
}

// again does what has not happened yet.
func (s *sufferer) again(h *host.Host, dir string) error {
	if strings.HasPrefix(s.act, "reconcile") {
		return perform(ctx, h, "settle p")
	}
	if s.happen(h) && s.name != "push" {
		return nil
	}
	return perform(ctx, h, s.words(s.act, dir))
}

// counted tells whether there is garbage, or the accounts do not add up.
func (s *sufferer) counted(h *host.Host, dir string) error {
	garbage, err := h.Collect(ctx, true)
	if len(garbage) > 0 && !s.arrives(garbage) {
		err = errors.Join(err, fmt.Errorf("garbage: %v", garbage))
	}
	return errors.Join(err, (&rig{dir: dir, h: h}).adds())
}

// arrives tells whether the garbage is what a failed import left for the next try.
func (s *sufferer) arrives(garbage []clade.Garbage) bool {
	return !slices.ContainsFunc(garbage, func(g clade.Garbage) bool { return !strings.Contains(g.Path, "arrived") })
}

// lost returns the processes of machines whose locks were removed under them.
func lost(dir string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		to, err := os.Readlink(file)
		if err != nil || !strings.HasPrefix(to, dir) || !strings.HasSuffix(to, "/machine.lock (deleted)") {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// move makes the trap one of another home.
func (x *trap) move(dir string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dir = dir
}
