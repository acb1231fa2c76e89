package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/cloudinit"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/image"
	"github.com/clade-vm/clade/store"
)

// askAgain is how long a guest has to power off before it is asked once more.
const askAgain = 10 * time.Second

// Start powers a machine on and connects it to its network. A machine that runs is
// left alone; one that stands still, as QEMU has it do when the host's disk is full,
// goes on. Kinds: NotFound; Exists where a running machine has its identity; Corrupt
// where a layer below it has changed; NoSpace where it stands still and there is
// still no room; Missing, Denied.
func (h *Host) Start(ctx context.Context, name clade.Name, o clade.StartOptions, p clade.Progress) error {
	if err := h.restore(ctx); err != nil {
		return err
	}
	on := "machine " + string(name)
	m, release, err := h.hold(ctx, name, "start")
	if err != nil {
		return err
	}
	defer release()
	place := h.place(m.ID)
	status, err := h.Driver.Status(ctx, place)
	if err != nil {
		return fileError("start", on, err)
	}
	if status.State == clade.Paused {
		if err := h.continues(ctx, m, p); err != nil {
			return err
		}
	}
	if status.State != clade.Stopped {
		return h.connect(ctx, m.Network)
	}
	pass, err := h.startGate(ctx, m, o)
	if err != nil {
		return fileError("start", on, err)
	}
	defer pass()
	if err := h.ready(ctx, m); err != nil {
		return fileError("start", on, err)
	}
	accelerator, err := h.Accelerator(ctx, p)
	if err != nil {
		return fileError("start", on, err)
	}
	if m.Asleep {
		return fileError("start", on, h.wakeOne(ctx, m, p))
	}
	p.Tell(clade.Event{Step: "start " + on})
	if err := h.writeSeed(m); err != nil {
		return fileError("start", on, err)
	}
	h.did("seed written")
	if err := os.MkdirAll(place.Run, 0o700); err != nil {
		return fileError("start", on, err)
	}
	if err := h.Driver.Start(ctx, place, h.spec(m, accelerator)); err != nil {
		return fileError("start", on, err)
	}
	h.did("hypervisor started")
	if err := h.connect(ctx, m.Network, m.Identity.Hostname); err != nil {
		return fileError("connect", on, errors.Join(err, h.Driver.Kill(context.WithoutCancel(ctx), place)))
	}
	p.Tell(clade.Event{Step: "start " + on, End: true})
	return nil
}

// roomToGoOn is what must be free before a machine that stands still goes on: with
// less it would soon stand still again.
const roomToGoOn = 16 * clade.MiB

// continues lets a machine that stands still go on. What it was about to write is
// written then: nothing is lost.
func (h *Host) continues(ctx context.Context, m *store.Machine, p clade.Progress) error {
	step := "continue machine " + string(m.Name)
	p.Tell(clade.Event{Step: step})
	free, err := image.Space(h.Dir)
	if err != nil {
		return err
	}
	if free < roomToGoOn {
		return &clade.Error{Op: "continue", On: "machine " + string(m.Name), Kind: clade.NoSpace,
			Err: fmt.Errorf("it stands still, and %s are free", free), Hint: "free some space first: clade gc; clade du shows what takes it"}
	}
	if err := h.goOn(ctx, m); err != nil {
		return err
	}
	p.Tell(clade.Event{Step: step, End: true})
	return nil
}

// ready completes a begun freeze and checks what the machine rests on.
func (h *Host) ready(ctx context.Context, m *store.Machine) error {
	if err := h.settle(ctx, m); err != nil {
		return err
	}
	for _, head := range h.headPaths(m) {
		if _, err := os.Stat(head); err != nil {
			return err
		}
	}
	layers := make([]string, len(m.Disks))
	for i, d := range m.Disks {
		layers[i] = d.Layer
	}
	return h.chainIntact(ctx, layers...)
}

// spec is the virtual computer of a machine: a pure function of its record.
func (h *Host) spec(m *store.Machine, accelerator string) hypervisor.Spec {
	p := h.place(m.ID)
	s := hypervisor.Spec{ID: m.ID, Name: m.Name, UUID: m.Identity.UUID, Hardware: m.Hardware, Accelerator: accelerator,
		Seed: filepath.Join(p.Dir, seedFile)}
	if m.Hardware.Firmware == clade.UEFI {
		s.NVRAM = filepath.Join(p.Dir, nvramFile)
	}
	for i, path := range h.headPaths(m) {
		s.Disks = append(s.Disks, hypervisor.Disk{Path: path, Serial: m.Disks[i].Serial})
	}
	if bridge, is := strings.CutPrefix(m.Network, bridgePrefix); is {
		s.NIC = &hypervisor.NIC{MAC: m.Identity.MAC, Bridge: bridge}
	} else if m.Network != "" {
		s.NIC = &hypervisor.NIC{MAC: m.Identity.MAC, Socket: filepath.Join(p.Run, nicSocket)}
	}
	return s
}

// writeSeed makes the cloud-init volume that tells the guest who it is.
func (h *Host) writeSeed(m *store.Machine) error {
	key, err := h.publicKey()
	if err != nil {
		return err
	}
	seed := cloudinit.Seed{KeepKeys: m.Warm != "", InstanceID: m.Identity.InstanceID, Hostname: m.Identity.Hostname, User: m.User,
		SSHKeys: append([]string{key}, m.SSHKeys...), UserData: m.UserData}
	for _, d := range m.Disks {
		if d.Data() {
			seed.Disks = append(seed.Disks, cloudinit.Disk{Serial: d.Serial, Label: d.Label, Mount: d.Mount})
		}
	}
	if m.Identity.MAC != "" {
		mac, err := net.ParseMAC(m.Identity.MAC)
		if err != nil {
			return err
		}
		seed.NICs = []cloudinit.NIC{{MAC: mac}}
	}
	return seed.Write(filepath.Join(h.machineDir(m.ID), seedFile))
}

// Stop asks the guest to power off and returns once it did. When ctx ends before,
// the kind is Timeout and the machine still runs. Stopping what is stopped is no error.
func (h *Host) Stop(ctx context.Context, name clade.Name, p clade.Progress) error {
	on := "machine " + string(name)
	m, release, err := h.hold(ctx, name, "stop")
	if err != nil {
		return err
	}
	defer release()
	place := h.place(m.ID)
	p.Tell(clade.Event{Step: "stop " + on})
	err = h.Driver.Stop(ctx, place)
	if errors.Is(err, clade.NotRunning) {
		return nil
	}
	if err != nil {
		return fileError("stop", on, err)
	}
	h.did("guest asked to power off")
	began, asked := time.Now(), time.Now()
	for {
		// A guest that is still booting hears nothing: it is asked again.
		if time.Since(asked) > askAgain {
			asked = time.Now()
			if err := h.Driver.Stop(ctx, place); err != nil && !errors.Is(err, clade.NotRunning) && ctx.Err() == nil {
				return fileError("stop", on, err)
			}
		}
		status, err := h.Driver.Status(ctx, place)
		if err != nil && ctx.Err() == nil {
			return fileError("stop", on, err)
		}
		if err == nil && status.State == clade.Stopped {
			p.Tell(clade.Event{Step: "stop " + on, End: true})
			return nil
		}
		select {
		case <-ctx.Done():
			return &clade.Error{Op: "stop", On: on, Kind: clade.Timeout, Err: fmt.Errorf("the guest did not power off in %v", time.Since(began).Round(time.Second)),
				Hint: "wait longer (--wait), or pull the plug: clade kill " + string(name)}
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Kill ends the machine at once, like pulling the plug.
func (h *Host) Kill(ctx context.Context, name clade.Name) error {
	m, err := h.record(ctx, name)
	if err != nil {
		return retitle("kill", err)
	}
	if err := h.Driver.Kill(ctx, h.place(m.ID)); err != nil {
		return fileError("kill", "machine "+string(name), err)
	}
	return nil
}
