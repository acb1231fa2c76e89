//go:build integration

package qemu_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qemu"
	"github.com/clade-vm/clade/qmp"
)

// TestPlugListens: what is plugged in waits for the switch, as the NIC that a
// machine has at its start does.
func TestPlugListens(t *testing.T) {
	d, p, s := qemu.New(qemu.Config{}), place(t), spec(t, t.TempDir())
	nic := *s.NIC
	s.NIC = nil
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(nic.Socket); err == nil {
		t.Fatal("the socket of a NIC that is not there is there")
	}
	if err := d.Plug(t.Context(), p, nic); err != nil {
		t.Fatal(err)
	}
	limit := time.After(time.Minute)
	// QEMU listens a moment after it has said so: it looks the address up in a thread,
	// and between its bind and its listen the socket is there and refuses.
	for {
		conn, err := net.Dial("unix", nic.Socket)
		if err == nil {
			conn.Close()
			return
		}
		early := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
		if !early || t.Context().Err() != nil {
			t.Fatal(err)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-limit:
			t.Fatal(err)
		}
	}
}

// TestTwoFromOne: two machines go on from one state at the same time.
func TestTwoFromOne(t *testing.T) {
	d, p, s := qemu.New(qemu.Config{}), place(t), spec(t, t.TempDir())
	ram, state := filepath.Join(t.TempDir(), "ram"), filepath.Join(t.TempDir(), "state")
	s.NIC, s.Memory = nil, &hypervisor.Memory{File: ram}
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(t.Context(), p, state); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(t.Context(), p, state); err == nil {
		t.Error("a state was written over")
	}
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		twin := spec(t, t.TempDir())
		twin.NIC, twin.Memory = nil, &hypervisor.Memory{File: ram, State: state}
		if err := d.Start(t.Context(), place(t), twin); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeptAfterDeath: a caller of Keep that was killed leaves the machine standing still
// and its socket behind. Neither keeps the next one from its work.
func TestKeptAfterDeath(t *testing.T) {
	d, p, s := qemu.New(qemu.Config{}), place(t), spec(t, t.TempDir())
	if err := d.Start(t.Context(), p, s); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(p.Run, "mv"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	conn, err := net.Dial("unix", filepath.Join(p.Run, "qmp"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := qmp.New(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Execute(t.Context(), "stop", nil, nil)
	c.Close()
	if err != nil {
		t.Fatal(err)
	}
	if st, err := d.Status(t.Context(), p); err != nil || st.State != clade.Paused {
		t.Fatalf("status = %+v, %v, want paused", st, err)
	}
	if err := d.Continue(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if st, err := d.Status(t.Context(), p); err != nil || st.State != clade.Running {
		t.Errorf("status = %+v, %v, want running", st, err)
	}
	bound, err := d.Bind(t.Context(), s.Accelerator, clade.Bound{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Keep(t.Context(), p, bound, filepath.Join(t.TempDir(), "state"), []string{s.Disks[0].Path, s.Disks[1].Path}); err != nil {
		t.Errorf("Keep: %v", err)
	}
}
