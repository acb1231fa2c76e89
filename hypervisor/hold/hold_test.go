package hold_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor/hold"
)

func start(t *testing.T, path string) *hold.Process {
	t.Helper()
	l, err := hold.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	p, err := l.Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hold.Kill(context.Background(), path); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestLockLivesAsLongAsTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine.lock")
	if held, err := hold.Held(path); held || err != nil {
		t.Errorf("Held before the first start = %v, %v, want false", held, err)
	}
	before := time.Now().Add(-time.Second)
	p := start(t, path)
	if held, err := hold.Held(path); !held || err != nil {
		t.Errorf("Held after the starter let go = %v, %v, want true", held, err)
	}
	if pid, since := hold.Holder(path); pid != p.PID || since.Before(before) {
		t.Errorf("Holder = %d, %v, want %d since now", pid, since, p.PID)
	}
	if _, err := hold.Take(path); !errors.Is(err, clade.Busy) {
		t.Errorf("Take of a held lock: %v, want %v", err, clade.Busy)
	}
	if err := hold.Kill(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if held, err := hold.Held(path); held || err != nil {
		t.Errorf("Held after Kill = %v, %v, want false", held, err)
	}
	if pid, since := hold.Holder(path); pid != 0 || since.IsZero() {
		t.Errorf("Holder after Kill = %d, %v, want 0 and the last start", pid, since)
	}
	select {
	case <-p.Ended:
	case <-time.After(5 * time.Second):
		t.Error("the process was not reaped")
	}
}

// TestKilledAndStartedAgain: whoever starts the machine again at once, as a
// controller does, holds up nobody who killed it.
func TestKilledAndStartedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine.lock")
	p := start(t, path)
	again := make(chan int)
	go func() {
		<-p.Ended
		for {
			l, err := hold.Take(path)
			if err != nil {
				continue
			}
			defer l.Release()
			next, err := l.Start(exec.Command("sleep", "1000"))
			if err != nil {
				t.Error(err)
				again <- 0
				return
			}
			again <- next.PID
			return
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := hold.Kill(ctx, path); err != nil {
		t.Errorf("Kill of one that is started again: %v", err)
	}
	if pid := <-again; pid == p.PID {
		t.Errorf("it is process %d still", pid)
	}
}

func TestStrangersAreNeitherBelievedNorKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine.lock")
	p := start(t, path)
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stranger.Process.Kill(); stranger.Wait() }()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(stranger.Process.Pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, _ := hold.Holder(path); pid != 0 {
		t.Errorf("Holder believes a process without the lock: %d", pid)
	}
	if err := hold.Kill(t.Context(), path); !errors.Is(err, clade.Busy) {
		t.Errorf("Kill of a stranger: %v, want %v", err, clade.Busy)
	}
	if held, _ := hold.Held(path); !held {
		t.Errorf("process %d no longer holds the lock", p.PID)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestStarterThatDied: a command that was killed when it had started the process and
// not yet written its id leaves one that is known, and can be ended.
func TestStarterThatDied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine.lock")
	l, err := hold.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	starting := func(pid int) {
		if err := os.WriteFile(path, fmt.Appendf(nil, "%-12d\n", -pid), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	starting(os.Getpid()) // as while this process had started it
	if pid, _ := hold.Holder(path); pid != 0 {
		t.Errorf("while it is started Holder = %d, want 0", pid)
	}
	if err := hold.Kill(t.Context(), path); !errors.Is(err, clade.Busy) {
		t.Errorf("while it is started Kill = %v, want %v", err, clade.Busy)
	}
	l.Release()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	starting(dead.Process.Pid)
	if pid, _ := hold.Holder(path); pid != p.PID {
		t.Errorf("Holder = %d, want %d", pid, p.PID)
	}
	if err := hold.Kill(t.Context(), path); err != nil {
		t.Errorf("Kill = %v", err)
	}
	if held, err := hold.Held(path); held || err != nil {
		t.Errorf("Held after Kill = %v, %v, want false", held, err)
	}
	<-p.Ended
}

// TestKilledWhileStarting kills starters at every moment: what they started, if
// anything, can be ended.
func TestKilledWhileStarting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine.lock")
	for i := range 60 {
		starter := exec.Command(os.Args[0], "start", path)
		out, err := starter.StdoutPipe()
		if err == nil {
			err = starter.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 1)) // it is about to
		time.Sleep(time.Duration(i) * 50 * time.Microsecond)
		_ = starter.Process.Kill()
		_ = starter.Wait()
		if err := hold.Kill(t.Context(), path); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		if held, err := hold.Held(path); held || err != nil {
			t.Fatalf("after %d: Held = %v, %v", i, held, err)
		}
	}
}

// TestMain lets the test binary be a starter that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "start" {
		l, err := hold.Take(os.Args[2])
		if err == nil {
			fmt.Print(".")
			_, err = l.Start(exec.Command("sleep", "1000"))
		}
		if err != nil {
			os.Exit(1)
		}
		select {}
	}
	os.Exit(m.Run())
}

func TestNothingElseIsPassedOn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "machine.lock")
	leak, err := os.Create(filepath.Join(dir, "leak"))
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	// As if a shell had passed the file on to this process.
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	p := start(t, path)
	// The loader opens libraries for an instant; what was passed on would stay.
	var passed []string
	for range 500 {
		if passed = openFiles(t, p.PID, path, os.DevNull); len(passed) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the process has %q open", passed)
}

// openFiles returns what process pid has open besides known.
func openFiles(t *testing.T, pid int, known ...string) []string {
	t.Helper()
	fds := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(fds)
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(fds, e.Name()))
		if err == nil && !slices.Contains(known, target) {
			others = append(others, target)
		}
	}
	return others
}

func TestTakeInNoDirectory(t *testing.T) {
	_, err := hold.Take(filepath.Join(t.TempDir(), "none", "machine.lock"))
	if !errors.Is(err, clade.NotFound) {
		t.Errorf("Take = %v, want %v", err, clade.NotFound)
	}
}

func TestStartOfNoProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine.lock")
	l, err := hold.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Start(exec.Command("/nonexistent")); !errors.Is(err, clade.Missing) {
		t.Errorf("Start = %v, want %v", err, clade.Missing)
	}
	l.Release()
	if held, err := hold.Held(path); held || err != nil {
		t.Errorf("Held after a start that came to nothing = %v, %v, want false", held, err)
	}
}
