//go:build integration

package qemu_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qemu"
	"github.com/clade-vm/clade/qmp"
)

// place makes a place whose machine is killed at the end of the test.
func place(t *testing.T) hypervisor.Place {
	t.Helper()
	p := hypervisor.Place{Dir: filepath.Join(t.TempDir(), "a,b c"), Run: filepath.Join(runDir(t), "r")}
	if err := os.Mkdir(p.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := qemu.New(qemu.Config{}).Kill(context.Background(), p); err != nil {
			t.Errorf("Kill at the end: %v", err)
		}
	})
	return p
}

// start starts a machine of the microguest.
func start(t *testing.T) (*qemu.Driver, hypervisor.Place, hypervisor.Spec) {
	t.Helper()
	return startOf(t, microguest)
}

// startOf starts a machine that runs this code.
func startOf(t *testing.T, code string) (*qemu.Driver, hypervisor.Place, hypervisor.Spec) {
	t.Helper()
	d, p, s := qemu.New(qemu.Config{}), place(t), specOf(t, t.TempDir(), code)
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	return d, p, s
}

func status(t *testing.T, d *qemu.Driver, p hypervisor.Place) hypervisor.Status {
	t.Helper()
	st, err := d.Status(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// reason waits until the machine is stopped and returns why.
func reason(t *testing.T, d *qemu.Driver, p hypervisor.Place) string {
	t.Helper()
	for range 500 {
		if st := status(t, d, p); st.State == clade.Stopped {
			return st.Reason
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("it does not stop")
	return ""
}

func TestReasons(t *testing.T) {
	for what, test := range map[string]struct {
		end  func(pid int) error
		want string
	}{
		"SIGTERM": {func(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }, "ended by signal 15 from process"},
		"SIGKILL": {func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }, "QEMU was killed or crashed"},
		"SIGABRT": {func(pid int) error { return syscall.Kill(pid, syscall.SIGABRT) }, "QEMU was killed or crashed"},
	} {
		d, p, _ := start(t)
		if err := test.end(status(t, d, p).PID); err != nil {
			t.Fatal(err)
		}
		if got := reason(t, d, p); !strings.HasPrefix(got, test.want) {
			t.Errorf("reason after %s = %q, want %q", what, got, test.want)
		}
	}
}

// A QEMU that hangs runs, can be killed, and the reason is known although it
// could not write it down.
func TestHungQEMU(t *testing.T) {
	d, p, _ := start(t)
	pid := status(t, d, p).PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if st := status(t, d, p); st.State != clade.Running || st.PID != pid {
		t.Errorf("status = %+v, want running", st)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("Status took %v", took)
	}
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := reason(t, d, p); got != "killed by clade" {
		t.Errorf("reason = %q", got)
	}
}

func TestPaused(t *testing.T) {
	d, p, _ := start(t)
	conn, err := net.Dial("unix", filepath.Join(p.Run, "qmp"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := qmp.New(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Execute(t.Context(), "stop", nil, nil); err != nil {
		t.Fatal(err)
	}
	if st := status(t, d, p); st.State != clade.Paused || st.Reason == "" || st.PID == 0 {
		t.Errorf("status = %+v, want paused, although somebody else talks to QEMU", st)
	}
}

func TestFailedStarts(t *testing.T) {
	d, p, s := start(t)
	other := place(t)
	err := d.Start(t.Context(), other, s)
	if !errors.Is(err, clade.Busy) || strings.Contains(err.Error(), "blockdev") {
		t.Errorf("Start on disks in use = %v, want %v in plain words", err, clade.Busy)
	}
	if st := status(t, d, other); st.State != clade.Stopped || st.Reason != "it did not start" {
		t.Errorf("status after a start in vain = %+v", st)
	}
	if st := status(t, d, p); st.State != clade.Running {
		t.Errorf("status of the machine that has the disks = %+v", st)
	}
	bad := spec(t, t.TempDir())
	if err := os.WriteFile(bad.Disks[1].Path, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), other, bad); err == nil || !strings.Contains(err.Error(), "not in qcow2 format") {
		t.Errorf("Start on a disk that is none = %v", err)
	}
	tiny := spec(t, t.TempDir())
	tiny.Hardware.Memory = 1 << 60
	if err := d.Start(t.Context(), other, tiny); err == nil {
		t.Error("Start with an exbibyte of memory went through")
	}
}

// A start that is given up leaves nothing running, whenever that happens.
func TestStartGivenUp(t *testing.T) {
	d, p, s := qemu.New(qemu.Config{}), place(t), spec(t, t.TempDir())
	for _, limit := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if err := d.Start(ctx, p, s); err == nil {
			t.Logf("QEMU was ready in %v", limit)
			if err := d.Kill(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		} else if !errors.Is(err, clade.Timeout) {
			t.Errorf("Start given up after %v = %v, want %v", limit, err, clade.Timeout)
		}
		cancel()
		if st := status(t, d, p); st.State != clade.Stopped {
			t.Errorf("status after %v = %+v, want stopped", limit, st)
		}
	}
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Errorf("Start after those given up: %v", err)
	}
}

func TestUEFI(t *testing.T) {
	if _, err := os.Stat("/usr/share/OVMF"); err != nil {
		t.Fatal("no OVMF\ninstall it: sudo apt-get install ovmf")
	}
	d, p, s := qemu.New(qemu.Config{}), place(t), spec(t, t.TempDir())
	s.Hardware.Firmware, s.NVRAM = clade.UEFI, filepath.Join(p.Dir, "nvram.fd")
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.NVRAM)
	if err != nil || info.Mode() != 0o600 || info.Size() == 0 {
		t.Errorf("variables: %v, %v", info, err)
	}
	heads, err := d.Heads(t.Context(), p)
	if err != nil || len(heads) != 2 {
		t.Errorf("Heads = %q, %v", heads, err)
	}
}

// What a machine's process has open and shows of itself.
func TestProcess(t *testing.T) {
	d, p, s := start(t)
	proc := filepath.Join("/proc", strconv.Itoa(status(t, d, p).PID))
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, _ := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		ours := strings.HasPrefix(target, p.Dir) || target == s.Seed || target == s.Disks[0].Path || target == s.Disks[1].Path
		kernels := strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/memfd:") || target == "/dev/null"
		if !ours && !kernels {
			t.Errorf("QEMU has %s open", target)
		}
	}
	if cwd, _ := os.Readlink(filepath.Join(proc, "cwd")); cwd != "/" {
		t.Errorf("QEMU works in %s", cwd)
	}
	for _, dir := range []string{p.Dir, p.Run} {
		filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if info, _ := e.Info(); e.Type().IsRegular() && info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		})
	}
	if info, err := os.Stat(p.Run); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the run directory: %v, %v", info, err)
	}
}

func TestLogsAreKeptForOneRun(t *testing.T) {
	d, p, s := start(t)
	typeIn(t, d, p, "x", "x")
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(p.Dir, "console.log.1"))
	if err != nil || !strings.Contains(string(before), "x") {
		t.Errorf("the console of the run before: %q, %v", before, err)
	}
	if now, err := os.ReadFile(filepath.Join(p.Dir, "console.log")); err != nil || strings.Contains(string(now), "x") {
		t.Errorf("the console of this run: %q, %v", now, err)
	}
}

// No zombie stays while the starter lives on.
func TestEndedQEMUIsReaped(t *testing.T) {
	d, p, _ := start(t)
	pid := status(t, d, p).PID
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid))); errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	out, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	t.Errorf("process %d is still there: %s", pid, out)
}

// TestStopOfOneThatEnds: QEMU takes its sockets away before it is gone, and who asks
// in between is told that it does not run.
func TestStopOfOneThatEnds(t *testing.T) {
	d, p, _ := start(t)
	pid := status(t, d, p).PID
	if err := os.Remove(filepath.Join(p.Run, "qmp")); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(1500*time.Millisecond, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	if err := d.Stop(t.Context(), p); !errors.Is(err, clade.NotRunning) {
		t.Errorf("Stop of one that ends = %v, want kind %q", err, clade.NotRunning)
	}
}
