package host

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/cloudinit"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/live"
	"github.com/google/uuid"
)

// virtioDriver is the driver of the network interface that instant clones will
// have: their MACs are not known when the guest's network is configured.
const virtioDriver = "virtio_net"

// offline is run by cloud-init before anything waits for a network: there is none,
// and some systems would wait for it for two minutes.
const offline = `#cloud-boothook
#!/bin/sh
systemctl --no-block stop systemd-networkd-wait-online.service NetworkManager-wait-online.service
`

// writeSeed tells cloud-init in the machine that is warmed who it is until it is
// resumed as others: the home's key may log in to all of them.
func (w *warming) writeSeed() error {
	key, err := w.h.publicKey()
	if err != nil {
		return err
	}
	seed := cloudinit.Seed{InstanceID: w.m.Identity.InstanceID, Hostname: w.m.Name, User: w.m.User, SSHKeys: []string{key},
		UserData: []byte(offline), Local: true, NICs: []cloudinit.NIC{{Driver: virtioDriver}}}
	return seed.Write(filepath.Join(w.place.Dir, seedFile))
}

// reach brings the running guest to the point that is asked for, makes sure that
// its clones will share nothing, and makes it ready to be saved.
func (w *warming) reach(ctx context.Context, p clade.Progress) error {
	if err := w.await(ctx, p, "agent", func(ctx context.Context, _ hypervisor.Guest) bool { return true }); err != nil {
		return err
	}
	if w.w.After != clade.AfterAgent {
		if err := w.await(ctx, p, "cloud-init", cloudInitThere); err != nil {
			return err
		}
	}
	g, err := w.saver.Guest(ctx, w.place)
	if err != nil {
		return err
	}
	defer g.Close()
	if w.w.After != clade.AfterAgent && w.w.After != clade.AfterCloudInit {
		p.Tell(clade.Event{Step: "run the command"})
		exit, err := g.Exec(ctx, clade.Command{Args: []string{"/bin/sh", "-c", w.w.After}})
		if err == nil && (exit.Status != 0 || exit.Signal != 0) {
			err = &clade.Error{Op: "run", On: fmt.Sprintf("%.60q", w.w.After), Kind: clade.Invalid, Err: fmt.Errorf("it ended with status %d: %.200q", exit.Status, exit.Err)}
		}
		if err != nil {
			return err
		}
	}
	return w.ready(ctx, g)
}

// ready refuses a guest whose clones would be twins, and prepares it.
func (w *warming) ready(ctx context.Context, g hypervisor.Guest) error {
	found, err := live.Twinned(ctx, g)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return &clade.Error{Kind: clade.Unproven, Err: fmt.Errorf("its instant clones would share mark %s, in /%.100s", found[0].Mark, found[0].Path),
			Hint: "remove it in the template, or keep an earlier point: --after agent; or make linked clones"}
	}
	id, err := uuid.Parse(w.m.Identity.UUID)
	if err != nil {
		return err
	}
	table, err := g.ReadFile(ctx, "/sys/firmware/dmi/tables/DMI", 64<<10)
	if err != nil && !errors.Is(err, clade.NotFound) {
		return err
	}
	if err := live.Prepare(ctx, g, id, table); err != nil {
		return err
	}
	w.h.did("warm: guest prepared")
	return nil
}

// await returns once a guest agent answers and there is what is waited for.
func (w *warming) await(ctx context.Context, p clade.Progress, what string, there func(context.Context, hypervisor.Guest) bool) error {
	step := "wait for " + what
	for {
		p.Tell(clade.Event{Step: step})
		reach, cancel := context.WithTimeout(ctx, 3*time.Second)
		g, err := w.saver.Guest(reach, w.place)
		met := false
		if err == nil {
			met = there(reach, g)
			g.Close()
		}
		cancel()
		switch {
		case met:
			p.Tell(clade.Event{Step: step, End: true})
			return nil
		case ctx.Err() != nil:
			return &clade.Error{Kind: clade.Timeout, Err: fmt.Errorf("%s is not there yet", what), Hint: "does its guest have an agent? clade start a linked clone, and look: clade logs"}
		case errors.Is(err, clade.NotRunning):
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// cloudInitThere asks for the file that cloud-init writes last; a guest without
// cloud-init has nothing to wait for.
func cloudInitThere(ctx context.Context, g hypervisor.Guest) bool {
	if _, err := g.ReadFile(ctx, "/run/cloud-init/result.json", 64); err == nil {
		return true
	}
	_, err := g.ReadFile(ctx, "/usr/bin/cloud-init", 1)
	return errors.Is(err, clade.NotFound)
}
