//go:build integration

package host_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
)

// otherwise is what else the test binary is run as: "as-command HOME STEP ACT"
// does an act as a command does, and dies after that step, if it is not 0;
// "as-trapped" is in trap_test.go, "as-soaked HOME VERB NAME" in soakqemu_test.go.
func otherwise(role string, args []string) int {
	switch role {
	case "as-command":
		return asCommand(args[0], args[1], args[2])
	case "as-trapped":
		return asTrapped()
	case "as-actor":
		return asActor()
	case "as-soaked":
		return asSoaked(args[0], args[1], args[2])
	}
	return 2
}

// asCommand opens the home, says so, does the act, and says the kind of its error.
func asCommand(dir, step, act string) int {
	c := attacked(dir)
	left, _ := strconv.Atoi(step)
	c.AfterStep = func(string) {
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	h, err := host.Open(context.Background(), c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("open")
	err = enact(context.Background(), h, act)
	fmt.Println("kind", clade.KindOf(err))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := h.Close(); err != nil {
		return 1
	}
	return 0
}

var kills = flag.Int("kills", 1000, "how many commands are killed")

// TestKilledAtRandom kills commands, real processes, at random instants and after
// random steps. The next command finds a home in which the act happened or did
// not: every machine, template and snapshot reads what it did or what it should
// read then, no layer has changed, and no file is there that no record names.
func TestKilledAtRandom(t *testing.T) {
	var killed, commands, seed atomic.Int64
	seed.Store(int64(*modelSeed))
	var workers sync.WaitGroup
	for range 2 {
		disk := newDrive(t)
		workers.Go(func() {
			for killed.Load() < int64(*kills) && !t.Failed() {
				err := massacre(t, disk, uint64(seed.Add(1)), &killed, &commands)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d of %d commands were killed", killed.Load(), commands.Load())
}

// homeLife is after how many acts a home is replaced by a new one.
const homeLife = 60

// prelude makes a home in which every act can be done.
var prelude = []string{"build m1 96", "write m1 3 20 7", "template m1 t:1", "write m1 0 30 8", "template m1 t:2", "linked t:1 c1 c2 c3",
	"write c1 10 60 9", "snapshot c1 s1", "write c1 40 6 10", "build m2 144", "write m2 70 60 11", "start m2", "twins m2 c4",
	"rebase c2 t:2", "export c1 b1.clade", "export t:2 b2.clade", "full t:1 c5"}

// massacre has random acts done in one home by commands that are killed.
func massacre(t *testing.T, disk *drive, seed uint64, killed, commands *atomic.Int64) (err error) {
	r, err := newRig(t, disk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	acts := slices.Clone(prelude)
	for _, act := range prelude {
		if err := r.step(act); err != nil {
			return err
		}
	}
	random := rand.New(rand.NewPCG(seed, 0xdead))
	took := map[string]time.Duration{} // by verb
	for _, numbers := range numbersFor(seed, homeLife) {
		act := choose(r.model, numbers)
		acts = append(acts, act)
		if killed.Load() >= int64(*kills) {
			return nil
		}
		if strings.HasPrefix(act, "write") || strings.HasPrefix(act, "pour") { // QEMU's to write
			err = r.step(act)
		} else {
			commands.Add(1)
			err = r.kill(act, random, took, killed)
		}
		if err != nil {
			return fmt.Errorf("seed %d: %w\nafter\n\t%s", seed, err, strings.Join(acts, "\n\t"))
		}
	}
	return nil
}

// kill has an act done by a command, kills it, and looks at what is there.
func (r *rig) kill(act string, random *rand.Rand, took map[string]time.Duration, killed *atomic.Int64) error {
	verb := strings.Fields(act)[0]
	step := 0
	if random.IntN(3) == 0 {
		step = 1 + random.IntN(9)
	}
	after := took[verb]
	if after == 0 {
		after = 20 * time.Millisecond
	}
	after = time.Duration(random.Int64N(int64(after)))
	lasted, dead, kind, err := r.command(act, step, after)
	if err != nil {
		return fmt.Errorf("%s: %w", act, err)
	}
	if dead {
		killed.Add(1)
	} else {
		took[verb] = (took[verb] + lasted) / 2
	}
	next := r.model.clone()
	if want := next.apply(act); !dead && kind != want {
		return fmt.Errorf("%s: its kind is %q, the model says %q", act, kind, want)
	}
	if err := r.recover(act); err != nil {
		return fmt.Errorf("%s, killed after %v or step %d: the next command: %w", act, after, step, err)
	}
	if err := r.either(act, next, dead); err != nil {
		return fmt.Errorf("%s, killed after %v or step %d: %w", act, after, step, err)
	}
	return nil
}

// recover has any next command done. A running machine whose promotion was killed
// is between the two; the next promotion goes on. What a command was just about to
// start when it died may keep its locks for an instant longer, until it is another
// program: then the command after that cleans up.
func (r *rig) recover(act string) error {
	if err := r.again(act); err != nil {
		return err
	}
	for range 100 {
		if _, err := r.h.Promote(ctx, "nobody", nil); !errors.Is(err, clade.NotFound) {
			return err
		}
		if len(listed(filepath.Join(r.dir, "tmp"))) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, err := r.h.Collect(ctx, false) // also what of a failed import was kept for the next try
	return err
}

// again ends what goes on after a command's death: what a machine's process and its
// promotion come to is theirs, and not decided when the command dies.
func (r *rig) again(act string) error {
	words := strings.Fields(act)
	m := r.model.machines[clade.Name(words[1])]
	if m == nil {
		return nil
	}
	switch words[0] {
	case "start", "kill", "repair":
		return enact(ctx, r.h, act)
	case "promote":
		if !m.runs || !m.rests {
			return nil
		}
		if err := enact(ctx, r.h, act); !errors.Is(err, clade.Unsupported) { // it was full already
			return err
		}
	}
	return nil
}

// either wants the home as it was, or as it is to be after the act; or, where the
// command died in between, as it was with the machine frozen.
func (r *rig) either(act string, next *world, dead bool) error {
	if !dead {
		r.model = next
		return r.same(next)
	}
	frozen := r.model.clone()
	if m := frozen.machines[clade.Name(strings.Fields(act)[1])]; m != nil {
		m.freeze()
	}
	var errs []error
	for _, w := range []*world{next, r.model, frozen} {
		err := r.same(w)
		if err == nil {
			r.model = w
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// command has an act done by a process of its own, that is killed that long after
// it has opened the home.
func (r *rig) command(act string, step int, after time.Duration) (lasted time.Duration, killed bool, kind clade.Kind, err error) {
	cmd := exec.Command(os.Args[0], "as-command", r.dir, strconv.Itoa(step), act)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, false, "", err
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "open\n" {
		return 0, false, "", fmt.Errorf("%v, %w: %s", err, cmd.Wait(), said.String())
	}
	began := time.Now()
	if step == 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	line, _ := lines.ReadString('\n')
	lasted = time.Since(began)
	_, _ = io.Copy(io.Discard, lines)
	err = cmd.Wait() // also for what it started: that has its standard error
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signaled() {
		return lasted, true, "", nil
	}
	if err != nil {
		return 0, false, "", fmt.Errorf("%w: %s", err, said.String())
	}
	return lasted, false, clade.Kind(strings.TrimSpace(strings.TrimPrefix(line, "kind "))), nil
}
