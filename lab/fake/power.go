package fake

import (
	"context"
	"fmt"
	"slices"

	"github.com/clade-vm/clade"
)

// Start implements clade.Power: a guest boots at once, and gives itself what it lacks.
func (h *Home) Start(ctx context.Context, name clade.Name, o clade.StartOptions, p clade.Progress) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "start"); err != nil {
		return err
	}
	m, err := h.machine("start", name)
	if err != nil || m.State == clade.Running {
		return err
	}
	g := h.s.Guests[m.ID]
	for _, other := range h.s.Machines {
		if g.MachineID != "" && !o.AcceptTwins && other.State == clade.Running && h.s.Guests[other.ID].MachineID == g.MachineID {
			return fail("start", "machine "+string(name), clade.Exists, "clade mend "+string(name),
				"machine %s is running and has the same machine-id %s", other.Name, g.MachineID)
		}
	}
	p.Tell(clade.Event{Step: "start " + string(name)})
	h.boot(m, g)
	if h.s.Knobs.Rot {
		for _, l := range h.chain(m.Disks[0].Layer) {
			h.s.Rotten[l.ID] = true
		}
	}
	p.Tell(clade.Event{Step: "start " + string(name), End: true})
	return nil
}

// boot makes a machine run, and an instant clone that is asleep wake.
func (h *Home) boot(m *clade.Machine, g *guest) {
	m.State, m.PID, m.Reason, m.Asleep = clade.Running, 4000+h.next(), "", false
	h.firstBoot(m, g)
	h.s.Heads[m.Name] += bootWrites
	h.s.Logs[m.Name] = map[string]string{"console": "Debian GNU/Linux 12 " + string(m.Name) + "\n\x1b[32mlogin:\x1b[0m \n", "qemu": ""}
}

// firstBoot makes a guest give itself what it lacks.
func (h *Home) firstBoot(m *clade.Machine, g *guest) {
	if g.MachineID == "" {
		g.MachineID = fmt.Sprintf("%032x", h.next())
	}
	if g.Instance != m.Identity.InstanceID { // cloud-init meets a new machine
		n := h.next()
		g.Instance, g.Keys = m.Identity.InstanceID, []string{fmt.Sprintf("SHA256:ed25519-%d", n), fmt.Sprintf("SHA256:rsa-%d", n)}
	}
}

// Stop implements clade.Power.
func (h *Home) Stop(ctx context.Context, name clade.Name, _ clade.Progress) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.may(ctx, "stop"); err != nil {
		return err
	}
	m, err := h.running("stop", name)
	if err != nil {
		return err
	}
	m.State, m.PID, m.Reason = clade.Stopped, 0, "the guest powered off"
	return nil
}

// Kill implements clade.Power.
func (h *Home) Kill(_ context.Context, name clade.Name) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.running("kill", name)
	if err != nil {
		return err
	}
	m.State, m.PID, m.Reason = clade.Stopped, 0, "killed"
	return nil
}

// Wait implements clade.Power: what runs has reached everything.
func (h *Home) Wait(ctx context.Context, name clade.Name, until clade.Condition, p clade.Progress) error {
	h.mu.Lock()
	m, err := h.machine("wait for", name)
	var state clade.State
	if err == nil {
		state = m.State
	}
	h.mu.Unlock()
	switch {
	case err != nil:
		return err
	case !slices.Contains([]clade.Condition{clade.WhenAgent, clade.WhenSSH, clade.WhenCloudInit, clade.WhenStopped}, until):
		return fail("wait for", "machine "+string(name), clade.Invalid, "use agent, ssh, cloud-init or stopped", "%q is nothing to wait for", until)
	case (until == clade.WhenStopped) == (state == clade.Stopped):
		return nil
	case until != clade.WhenStopped:
		return fail("wait for", "machine "+string(name), clade.NotRunning, "start it first: clade start "+string(name), "it is stopped")
	}
	p.Tell(clade.Event{Step: fmt.Sprintf("wait for %s of %s", until, name)})
	<-ctx.Done()
	return fail("wait for", "machine "+string(name), clade.Timeout, "wait longer (--timeout)", "%s is not there yet", until)
}
