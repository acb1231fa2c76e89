package host_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
)

var (
	soakFor  = flag.Duration("soak", 12*time.Second, "how long TestPoolSoak goes on")
	soakSeed = flag.Uint64("soakseed", 0, "the seed of TestPoolSoak; 0: a new one")
)

// A soak is a pool that is used by many and to which everything happens.
type soak struct {
	*testing.T
	h          *host.Host
	dir        string
	r          *rand.Rand
	command    []string               // what makes the test binary a controller of the home
	also       func(*clade.Pool) bool // what else must become so; nil: nothing
	limit      time.Duration          // within which the pool must be what is wanted
	acts       []func()
	controller *exec.Cmd
	held       map[string]clade.Name // what each person must have
	owners     map[string]string     // of each identity ever seen, the machine's id
	did        map[string]int
}

// newSoak makes the pool, of t:1, which t:2 is like.
func newSoak(t *testing.T, h *host.Host, dir string, spec clade.PoolSpec) *soak {
	t.Helper()
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-soakseed %d", seed)
	s := &soak{T: t, h: h, dir: dir, r: rand.New(rand.NewPCG(seed, 0)), held: map[string]clade.Name{}, owners: map[string]string{}, did: map[string]int{},
		command: []string{"child", dir, "control p", "0"}, limit: time.Minute}
	s.acts = []func(){s.claim, s.claim, s.claim, s.release, s.release, s.brief, s.scale, s.update, s.killMachine, s.killController}
	spec.Name, spec.Template, spec.Size, spec.Spares, spec.MaxUnavailable = "p", clade.Ref{Name: "t", Version: "1"}, 3, 1, 2
	spec.Policy = []clade.Policy{clade.Reset, clade.Recreate}[s.r.IntN(2)]
	spec.MaxCPUs = 9
	if _, err := h.CreatePool(ctx, spec); err != nil {
		t.Fatal(err)
	}
	return s
}

// goOn does acts at random, with a rest of up to that long after each, until the time
// is over, and now and then looks whether all is as promised.
func (s *soak) goOn(rest time.Duration) {
	s.Helper()
	s.control()
	s.Cleanup(s.uncontrol)
	for end := time.Now().Add(*soakFor); time.Now().Before(end) && !s.Failed(); {
		for range 10 + s.r.IntN(15) {
			s.acts[s.r.IntN(len(s.acts))]()
			time.Sleep(time.Duration(s.r.Int64N(int64(rest))))
			s.look()
		}
		s.pause()
	}
	p := status(s.T, s.h)
	s.Logf("kind %s, policy %s, %d identities, %v", p.Kind, p.Policy, len(s.owners), s.did)
}

// TestPoolSoak claims, releases, scales, updates and kills controllers and machines,
// all at random, with a controller and machines that are processes. At every pause the
// pool becomes what is wanted, no claim is lost or given twice, no identity has been
// given twice, and no file or process is left over.
func TestPoolSoak(t *testing.T) {
	t.Parallel()
	for _, kind := range []clade.CloneKind{clade.Linked, clade.Instant} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			h, dir := home(t)
			must(t, h, "template m") // t:2
			if kind == clade.Instant {
				for _, version := range []string{"1", "2"} {
					spec := clade.WarmSpec{Template: clade.Ref{Name: "t", Version: version}, Hardware: clade.Hardware{Memory: 64 * clade.MiB}}
					if _, err := h.WarmTemplate(ctx, spec, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			newSoak(t, h, dir, clade.PoolSpec{Kind: kind, Network: "none"}).goOn(100 * time.Millisecond)
		})
	}
}

func (s *soak) control() {
	s.Helper()
	s.controller = exec.Command(os.Args[0], s.command...)
	s.controller.Stderr = os.Stderr
	if err := s.controller.Start(); err != nil {
		s.Fatal(err)
	}
}

func (s *soak) uncontrol() {
	_ = s.controller.Process.Kill()
	_ = s.controller.Wait()
}

func (s *soak) claim() {
	person := fmt.Sprint("person ", s.r.IntN(6))
	c, err := s.h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: person})
	if errors.Is(err, clade.Busy) && s.held[person] == "" {
		s.did["claims refused"]++
		return
	}
	if err != nil {
		s.Errorf("claim for %s, who holds %q: %v", person, s.held[person], err)
		return
	}
	s.did["claims"]++
	if had := s.held[person]; had != "" && (had != c.Machine || !c.Again) {
		s.Errorf("%s had %s and gets %+v", person, had, c)
	}
	for other, m := range s.held {
		if m == c.Machine && other != person {
			s.Errorf("%s is %s's and was given to %s", m, other, person)
		}
	}
	s.held[person] = c.Machine
}

func (s *soak) release() {
	for person := range s.held {
		s.did["releases"]++
		delete(s.held, person)
		if _, err := s.h.Release(ctx, "p", person); err != nil {
			s.Errorf("release of %s: %v", person, err)
		}
		return
	}
}

// brief claims for a moment.
func (s *soak) brief() {
	s.did["claims that expire"]++
	c, err := s.h.Claim(ctx, clade.ClaimSpec{Pool: "p", Person: fmt.Sprint("guest ", s.r.Uint32()), TTL: clade.Span(50 * time.Millisecond)})
	if err != nil && !errors.Is(err, clade.Busy) {
		s.Errorf("brief claim: %v", err)
	}
	for person, m := range s.held {
		if err == nil && m == c.Machine {
			s.Errorf("%s is %s's and was given to a guest", m, person)
		}
	}
}

func (s *soak) scale() {
	s.did["scalings"]++
	spec := status(s.T, s.h).PoolSpec
	spec.Size, spec.Spares = s.r.IntN(6), s.r.IntN(3)
	if _, err := s.h.ChangePool(ctx, spec); err != nil {
		s.Errorf("scale: %v", err)
	}
}

func (s *soak) update() {
	s.did["updates"]++
	u := clade.PoolUpdate{Pool: "p", To: clade.Ref{Name: "t", Version: fmt.Sprint(1 + s.r.IntN(2))}}
	if s.r.IntN(3) == 0 {
		u.Deadline = 1
	}
	if _, err := s.h.UpdatePool(ctx, u); err != nil {
		s.Errorf("update: %v", err)
	}
}

func (s *soak) killMachine() {
	for _, m := range s.machines() {
		if m.PID > 0 && s.r.IntN(2) == 0 {
			s.did["machines killed"]++
			_ = syscall.Kill(m.PID, syscall.SIGKILL)
			return
		}
	}
}

func (s *soak) killController() {
	s.did["controllers killed"]++
	s.uncontrol()
	s.control()
}

// machines returns those of the pool.
func (s *soak) machines() []*clade.Machine {
	s.Helper()
	list, err := s.h.Machines(ctx)
	if err != nil {
		s.Fatal(err)
	}
	return slices.DeleteFunc(list, func(m *clade.Machine) bool { return !strings.HasPrefix(string(m.Name), "p-") })
}

// look remembers who has which identity.
func (s *soak) look() {
	for _, m := range s.machines() {
		for _, id := range []string{m.Identity.UUID, m.Identity.InstanceID, m.Disks[0].Serial} {
			if owner := s.owners[id]; owner != "" && owner != m.ID {
				s.Errorf("%s was of machine %s and is of %s (%s)", id, owner, m.ID, m.Name)
			}
			s.owners[id] = m.ID
		}
	}
}

// pause waits until the pool is what is wanted and checks all promises.
func (s *soak) pause() {
	s.Helper()
	s.did["pauses"]++
	for limit := time.Now().Add(s.limit); !s.settled(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			s.Fatalf("the pool does not become what is wanted: %+v", status(s.T, s.h))
		}
	}
	claims, err := s.h.Claims(ctx, "p")
	if err != nil {
		s.Fatal(err)
	}
	now, given := map[string]clade.Name{}, map[clade.Name]string{}
	for _, c := range claims {
		if now[c.Person] != "" || given[c.Machine] != "" {
			s.Errorf("two claims of a person or on a machine: %+v", claims)
		}
		now[c.Person], given[c.Machine] = c.Machine, c.Person
	}
	if fmt.Sprint(now) != fmt.Sprint(s.held) {
		s.Errorf("the claims are %v, want %v", now, s.held)
	}
	// Nobody else writes while files are counted.
	s.uncontrol()
	s.leaks()
	s.accounts()
	s.control()
}

// accounts checks that clade knows what the home takes, to the byte.
func (s *soak) accounts() {
	s.Helper()
	u := usage(s.T, s.h)
	if want := du(s.T, s.dir); u.Allocated != want {
		s.Errorf("the home takes %d by du, and %d by clade: %+v", want, u.Allocated, u.Parts)
	}
	if len(u.Orphans) > 0 {
		s.Errorf("orphans: %+v", u.Orphans)
	}
}

func (s *soak) settled() bool {
	p := status(s.T, s.h)
	claims, err := s.h.Claims(ctx, "p")
	if err != nil || len(p.Members) != p.Want || p.Claimed != len(s.held) || p.Claimed+p.Ready != len(p.Members) || len(claims) != len(s.held) {
		return false
	}
	for _, m := range p.Members {
		if m.Phase == clade.Ready && m.Template != p.Template.String() || m.State != clade.Running {
			return false
		}
	}
	return s.also == nil || s.also(p)
}

// leaks looks for files and processes that nothing needs.
func (s *soak) leaks() {
	s.Helper()
	if _, err := s.h.Collect(ctx, false); err != nil { // as any next command does
		s.Fatal(err)
	}
	var ids []string
	all, err := s.h.Machines(ctx)
	if err != nil {
		s.Fatal(err)
	}
	running := 0
	for _, m := range all {
		ids = append(ids, m.ID)
		if m.State == clade.Running {
			running++
		}
	}
	slices.Sort(ids)
	if got := list(s.T, s.dir, "machines"); !slices.Equal(got, ids) {
		s.Errorf("machines holds %v, records say %v", got, ids)
	}
	if got := s.sleepers(); len(got) != running {
		s.Errorf("%d processes are machines of this home, %d run", len(got), running)
	}
	l, err := s.h.Lineage(ctx)
	if err != nil {
		s.Fatal(err)
	}
	var layers []string
	for _, layer := range l.Layers {
		layers = append(layers, layer.ID)
	}
	slices.Sort(layers)
	if got := list(s.T, s.dir, "layers"); !slices.Equal(got, layers) {
		s.Errorf("layers holds %v, records say %v", got, layers)
	}
}

// sleepers returns the processes that have a file in the home's machines open.
func (s *soak) sleepers() (pids []string) {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		pid := strings.Split(link, "/")[2]
		if to, _ := os.Readlink(link); strings.HasPrefix(to, filepath.Join(s.dir, "machines")) && strings.HasSuffix(to, "machine.lock") && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
