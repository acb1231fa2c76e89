package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
)

const (
	// stormReserve is what a storm leaves to the computer, and stormPart the least
	// part of its memory.
	stormReserve = 256 * clade.MiB
	stormPart    = 20
	// stormPatience is how long a clone waits for memory that does not come.
	stormPatience = 2 * time.Minute
)

// A storm is the waking of instant clones of one warm template, one after the other
// or several at once. It lets the next one in when there is memory for it and for
// what those before it are about to take: by what they are measured to take, not by
// what they are configured with.
type storm struct {
	proc   string
	memory clade.Bytes

	mu       sync.Mutex
	pids     []int // of those that run
	admitted int   // and have not said yet that they run
}

// storm begins with the clones of w that run.
func (h *Host) storm(ctx context.Context, w *clade.Warm) (*storm, error) {
	s := &storm{proc: first(h.Proc, "/proc"), memory: w.Hardware.Memory}
	var all []*store.Machine
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.Machines()
		return err
	})
	for _, m := range all {
		if m.Warm != w.ID {
			continue
		}
		if status, err := h.Driver.Status(ctx, h.place(m.ID)); err == nil && status.PID != 0 {
			s.pids = append(s.pids, status.PID)
		}
	}
	return s, err
}

// admit returns once there is memory for one more. Kind NoSpace where none becomes free.
func (s *storm) admit(ctx context.Context, name string, p clade.Progress) error {
	step := "wait for memory for machine " + name
	for began, waited := time.Now(), false; ; {
		need, free, err := s.ask()
		if err != nil {
			return err
		}
		if need <= free {
			if waited {
				p.Tell(clade.Event{Step: step, End: true})
			}
			return nil
		}
		if time.Since(began) > stormPatience {
			return &clade.Error{Op: "wake", On: "machine " + name, Kind: clade.NoSpace, Err: fmt.Errorf("%v of memory are needed, %v are free", need, free),
				Hint: "stop some machines, or warm the template with less: clade template warm --memory"}
		}
		waited = true
		p.Tell(clade.Event{Step: fmt.Sprintf("%s: %v are needed, %v are free", step, need, free)})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// ask admits one more if there is memory for it, and says what is needed and free. Where
// there is room for all that they are configured with, none is measured.
func (s *storm) ask() (need, free clade.Bytes, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total, free, err := memoryOf(filepath.Join(s.proc, "meminfo"))
	if err != nil {
		return 0, 0, err
	}
	reserve := max(stormReserve, total/stormPart)
	if need := s.memory*clade.Bytes(len(s.pids)+s.admitted+1) + reserve; need <= free { // to measure costs, too
		s.admitted++
		return need, free, nil
	}
	var taken []clade.Bytes
	for _, pid := range s.pids {
		if n, err := pss(filepath.Join(s.proc, strconv.Itoa(pid), "smaps_rollup")); err == nil {
			taken = append(taken, n)
		}
	}
	need = needed(s.memory, taken, s.admitted) + reserve
	if need <= free {
		s.admitted++
	}
	return need, free, nil
}

// runs is told that one that was admitted runs now, and is measured from here on.
func (s *storm) runs(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted--
	if pid != 0 {
		s.pids = append(s.pids, pid)
	}
}

// needed is the memory that one more clone will take, and those before it will take
// still: half as much again as they take on average now, and at least an eighth of
// what they are configured with; where none was measured, a third of it.
func needed(memory clade.Bytes, taken []clade.Bytes, admitted int) clade.Bytes {
	each := memory / 3
	var sum clade.Bytes
	for _, n := range taken {
		sum += n
	}
	if len(taken) > 0 {
		each = max(sum/clade.Bytes(len(taken))*3/2, memory/8)
	}
	need := each * clade.Bytes(1+admitted)
	for _, n := range taken {
		need += max(0, each-n)
	}
	return need
}

// memoryOf reads how much memory a computer has, and how much of it can be had.
func memoryOf(path string) (total, available clade.Bytes, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	if total, err = kilobytes(text, "MemTotal:"); err != nil {
		return 0, 0, err
	}
	available, err = kilobytes(text, "MemAvailable:")
	return total, available, err
}

// pss is what a process takes of the memory: its own pages, and its part of shared ones.
func pss(path string) (clade.Bytes, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return kilobytes(text, "Pss:")
}

// kilobytes finds the value of a line "KEY 123 kB".
func kilobytes(text []byte, key string) (clade.Bytes, error) {
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		fields := strings.Fields(in.Text())
		if len(fields) > 1 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return clade.Bytes(n) * clade.KiB, err
		}
	}
	return 0, errors.New("the kernel does not tell " + strings.TrimSuffix(key, ":"))
}
