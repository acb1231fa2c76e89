package vswitch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clade-vm/clade"
)

// TestMain makes this binary a switch process of its own when told to, so that a
// test can kill one.
func TestMain(m *testing.M) {
	if spec := os.Getenv("CLADE_TEST_SWITCH"); spec != "" {
		if err := switchProcess(spec); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

type processSpec struct {
	Plan    Plan
	Ports   []Port
	Control string
}

func switchProcess(text string) error {
	var spec processSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	return Run(context.Background(), spec.Plan, func(context.Context) ([]Port, error) { return spec.Ports, nil },
		spec.Control, slog.New(slog.DiscardHandler))
}

// spawnSwitch runs a switch in a process of its own, with all guests connected.
func spawnSwitch(t *testing.T, control string, guests ...*guest) *exec.Cmd {
	t.Helper()
	spec := processSpec{Plan: testPlan, Control: control}
	for _, g := range guests {
		spec.Ports = append(spec.Ports, g.Port)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLADE_TEST_SWITCH="+string(text))
	cmd.Stderr = os.Stderr
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := Ensure(ctx, control, func(context.Context) error { return cmd.Start() }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// A switch that is killed leaves its socket, its lock file and its machines as they
// are; the next one serves them, and their connections go on where they were.
func TestKilledSwitch(t *testing.T) {
	dir := newDir(t)
	control := filepath.Join(dir, "net.sock")
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	b.echo(80)
	cmd := spawnSwitch(t, control, a, b)
	conn, err := a.dial(at(b, 80), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("before ")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if running, err := Running(control); running || err != nil {
		t.Errorf("Running of a killed switch = %v, %v", running, err)
	}
	if _, err := os.Stat(control); err != nil {
		t.Errorf("the killed switch left no socket: %v", err)
	}
	if err := Poke(context.Background(), control); !errors.Is(err, clade.NotRunning) {
		t.Errorf("Poke of a killed switch = %v, want %v", err, clade.NotRunning)
	}
	if _, err := conn.Write([]byte("during ")); err != nil { // lost, and sent again by TCP
		t.Fatal(err)
	}
	w := &world{t: t, control: control}
	w.set(a, b)
	w.run(testPlan)
	w.poke()
	a.mustTalk(at(b, 80))
	if got := talkOn(conn, "after"); got != "before during after" {
		t.Errorf("the connection that was open carried %q", got)
	}
	host, err := Dial(context.Background(), control, at(b, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if err := roundTrip(host, []byte("hello")); err != nil {
		t.Error(err)
	}
}

// talkOn ends a connection to an echo and returns all that came back.
func talkOn(conn net.Conn, last string) string {
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write([]byte(last))
	conn.(halfConn).CloseWrite()
	line, _ := bufio.NewReader(conn).ReadString(0)
	return line
}

func TestOneSwitchPerNetwork(t *testing.T) {
	dir := newDir(t)
	w := newWorld(t, testPlan, dir, newGuest(t, dir, 1))
	start := time.Now()
	err := Run(context.Background(), testPlan, w.list, w.control, slog.New(slog.DiscardHandler))
	if !errors.Is(err, clade.Busy) || time.Since(start) > time.Minute {
		t.Errorf("second Run = %v after %v, want %v at once", err, time.Since(start), clade.Busy)
	}
	if running, err := Running(w.control); !running || err != nil {
		t.Errorf("Running = %v, %v", running, err)
	}
	info, err := os.Stat(w.control)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket is %v, %v, want mode 0600", info, err)
	}
	info, err = os.Stat(filepath.Dir(w.control))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its directory is %v, %v, want mode 0700", info, err)
	}
	for range 2 {
		if err := Stop(context.Background(), w.control); err != nil {
			t.Errorf("Stop = %v", err)
		}
	}
	if running, err := Running(w.control); running || err != nil {
		t.Errorf("Running after Stop = %v, %v", running, err)
	}
	left, err := os.ReadDir(filepath.Dir(w.control))
	if len(left) != 0 || err != nil {
		t.Errorf("Stop left %v, %v", left, err)
	}
}

// However the lock is taken and given back, one holds it.
func TestLockIsExclusive(t *testing.T) {
	control := filepath.Join(newDir(t), "net.sock")
	var holders, taken atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				lock, err := acquire(control)
				if errors.Is(err, clade.Busy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				taken.Add(1)
				runtime.Gosched()
				holders.Add(-1)
				release(control, lock)
			}
		})
	}
	all.Wait()
	if taken.Load() == 0 {
		t.Error("nobody ever held the lock")
	}
}

// Many commands that need the network at once get one switch, which serves all.
func TestEnsureTogether(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	control := filepath.Join(dir, "net.sock")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var runs, switches, callers sync.WaitGroup
	var busy, ran atomic.Int64
	defer switches.Wait()
	defer Stop(context.Background(), control)
	spawn := func(context.Context) error {
		runs.Add(1)
		switches.Go(func() {
			runs.Done()
			err := Run(context.Background(), testPlan, func(context.Context) ([]Port, error) { return []Port{a.Port}, nil },
				control, slog.New(slog.DiscardHandler))
			if errors.Is(err, clade.Busy) {
				busy.Add(1)
			} else {
				ran.Add(1)
			}
		})
		return nil
	}
	for range 10 {
		callers.Go(func() {
			if err := Ensure(ctx, control, spawn, a.Machine); err != nil {
				t.Errorf("Ensure = %v", err)
			}
		})
	}
	callers.Wait()
	runs.Wait()
	if err := Stop(ctx, control); err != nil {
		t.Error(err)
	}
	switches.Wait()
	if ran.Load() != 1 {
		t.Errorf("%d switches ran and %d were told that one runs, want 1 to run", ran.Load(), busy.Load())
	}
}

func TestIdleSwitchEnds(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	plan := testPlan
	plan.Idle = 100 * time.Millisecond
	w := newWorld(t, plan, dir, a)
	time.Sleep(3 * plan.Idle)
	if running, _ := Running(w.control); !running {
		t.Fatal("the switch ended under a running machine")
	}
	w.set()
	select {
	case err := <-w.ended:
		if err != nil {
			t.Errorf("Run = %v", err)
		}
		w.ended <- nil
	case <-time.After(patience):
		t.Fatal("the switch did not end without machines")
	}
	if _, err := os.Stat(w.control); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket is still there: %v", err)
	}
}

// A switch that can no longer learn which machines run serves those it has, and
// ends when they do.
func TestUnknownMachinesDoNotKeepTheSwitch(t *testing.T) {
	dir := newDir(t)
	a := newGuest(t, dir, 1)
	plan := testPlan
	plan.Idle = 100 * time.Millisecond
	w := newWorld(t, plan, dir, a)
	a.echo(80)
	w.mu.Lock()
	w.err = &clade.Error{Op: "list", Kind: clade.Corrupt}
	w.mu.Unlock()
	if err := Poke(context.Background(), w.control); !errors.Is(err, clade.Corrupt) {
		t.Errorf("Poke = %v, want %v", err, clade.Corrupt)
	}
	time.Sleep(3 * plan.Idle)
	conn, err := Dial(context.Background(), w.control, at(a, 80))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	a.powerOff()
	eventually(t, "the switch ends", func() bool { running, _ := Running(w.control); return !running })
}

func TestPortsComeAndGo(t *testing.T) {
	dir := newDir(t)
	a, b := newGuest(t, dir, 1), newGuest(t, dir, 2)
	w := newWorld(t, testPlan, dir, a)
	since := w.status()["m1"].Since
	w.set(a, b)
	if err := Poke(context.Background(), w.control, b.Machine); err != nil {
		t.Fatalf("Poke = %v", err)
	}
	b.echo(80)
	a.mustTalk(at(b, 80))
	s := w.status()
	if !s["m1"].Connected || !s["m2"].Connected || s["m1"].Received == 0 || s["m2"].Sent == 0 {
		t.Errorf("status = %+v", s)
	}
	if !s["m1"].Since.Equal(since) {
		t.Error("a machine that came disturbed one that was there")
	}
	bad := b.Port
	bad.Machine, bad.Socket = "m3", "elsewhere"
	w.mu.Lock()
	w.ports = append(w.ports, bad)
	w.mu.Unlock()
	if err := Poke(context.Background(), w.control); !errors.Is(err, clade.Invalid) {
		t.Errorf("Poke with a MAC given twice = %v, want %v", err, clade.Invalid)
	}
	a.mustTalk(at(b, 80))
	w.set(a)
	w.poke()
	if s := w.status(); len(s) != 1 {
		t.Errorf("status of one machine = %+v", s)
	}
	if err := Poke(context.Background(), w.control, b.Machine); !errors.Is(err, clade.NotRunning) {
		t.Errorf("Poke for a machine that left = %v, want %v", err, clade.NotRunning)
	}
}

// Poke waits for a QEMU that is about to listen, and names one that does not.
func TestPokeWaits(t *testing.T) {
	dir := newDir(t)
	a, late := newGuest(t, dir, 1), newGuest(t, dir, 2)
	late.powerOff()
	w := newWorld(t, testPlan, dir, a)
	w.set(a, late)
	if err := Poke(context.Background(), w.control, a.Machine); err != nil {
		t.Errorf("Poke for another machine = %v", err)
	}
	err := Poke(context.Background(), w.control)
	if !errors.Is(err, clade.Timeout) || !strings.Contains(err.Error(), "m2") {
		t.Errorf("Poke = %v, want %v about m2", err, clade.Timeout)
	}
	time.AfterFunc(200*time.Millisecond, late.listen)
	if err := Poke(context.Background(), w.control); err != nil {
		t.Errorf("Poke for a machine that comes = %v", err)
	}
}

// A QEMU that has bound its socket and does not listen yet refuses connections, for a
// moment that is long on a busy computer: that is not for ever.
func TestPokeWaitsForWhoIsBound(t *testing.T) {
	dir := newDir(t)
	late := newGuest(t, dir, 1)
	late.powerOff()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: late.Socket})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	w := newWorld(t, testPlan, dir)
	w.set(late)
	refused := make(chan error, 1)
	go func() {
		_, err := net.Dial("unix", late.Socket)
		time.Sleep(10 * pokeEvery) // the switch is refused some times
		refused <- errors.Join(err, unix.Listen(fd, 1))
	}()
	if err := Poke(context.Background(), w.control, late.Machine); err != nil {
		t.Errorf("Poke = %v", err)
	}
	if err := <-refused; !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("before it listened: %v, want %v", err, unix.ECONNREFUSED)
	}
	if !w.status()[late.Machine].Connected {
		t.Error("it is not connected")
	}
}
