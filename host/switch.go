package host

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
	"github.com/clade-vm/clade/vswitch"
)

// switchWait is how long a new switch may take to answer.
const switchWait = 20 * time.Second

func (h *Host) switchPath(network clade.Name, file string) string {
	return filepath.Join(h.Run, switchesDir, string(network), file)
}

func (h *Host) switchRuns(network clade.Name) bool {
	running, err := vswitch.Running(h.switchPath(network, switchControl))
	return err == nil && running
}

// Switch is the life of one network's switch process: it serves until the last
// machine of the network is gone. Kinds: NotFound; Busy where one serves already.
func (h *Host) Switch(ctx context.Context, name clade.Name) error {
	n, err := h.Network(ctx, name)
	if err != nil {
		return err
	}
	subnet, err := netip.ParsePrefix(n.Subnet)
	if err != nil {
		return err
	}
	plan := vswitch.Plan{Network: name, Subnet: subnet, Gateway: gateway(subnet), NAT: n.NAT, Domain: string(name) + ".internal"}
	return vswitch.Run(ctx, plan, func(ctx context.Context) ([]vswitch.Port, error) { return h.ports(ctx, name) },
		h.switchPath(name, switchControl), h.Config.Log)
}

// ports returns the running machines of a network.
func (h *Host) ports(ctx context.Context, name clade.Name) ([]vswitch.Port, error) {
	var records []*store.Machine
	var isolated bool
	err := h.db.Read(ctx, func(tx *store.Tx) error {
		n, err := tx.Network(name)
		if err != nil {
			return err
		}
		isolated = n.Isolated
		records, err = tx.Machines()
		return err
	})
	var ports []vswitch.Port
	for _, m := range records {
		if m.Network != string(name) {
			continue
		}
		p := h.place(m.ID)
		if status, err := h.Driver.Status(ctx, p); err != nil || status.State == clade.Stopped {
			continue
		}
		ports = append(ports, vswitch.Port{Machine: m.Identity.Hostname, MAC: m.Identity.MAC, IP: m.Identity.IP, Socket: filepath.Join(p.Run, nicSocket),
			Isolated: isolated || m.Isolated})
	}
	return ports, err
}

// tend gives every network with running machines its switch back.
func (h *Host) tend(ctx context.Context) error {
	list, err := os.ReadDir(h.Run)
	if errors.Is(err, os.ErrNotExist) || len(list) == 0 {
		return nil // nothing was started since the computer was
	}
	networks, err := h.Networks(ctx)
	if err != nil {
		return err
	}
	served := make(map[string]bool)
	for _, n := range networks {
		served[string(n.Name)] = n.Running
	}
	var records []*store.Machine
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		records, err = tx.Machines()
		return err
	})
	if err != nil {
		return err
	}
	// Every running machine would be asked for its state, by every command.
	records = slices.DeleteFunc(records, func(m *store.Machine) bool { return !userNetwork(m.Network) || served[m.Network] })
	machines, err := h.listed(ctx, records)
	if err != nil {
		return err
	}
	return h.tendFor(ctx, machines)
}

// tendFor does what tend does for machines whose states are known.
func (h *Host) tendFor(ctx context.Context, machines []*clade.Machine) error {
	seen := make(map[string]bool)
	for _, m := range machines {
		if m.State == clade.Stopped || !userNetwork(m.Network) || seen[m.Network] {
			continue
		}
		seen[m.Network] = true
		if !h.switchRuns(clade.Name(m.Network)) {
			if err := h.connect(ctx, m.Network); err != nil {
				return err
			}
		}
	}
	return nil
}

func userNetwork(name string) bool {
	return name != "" && !strings.HasPrefix(name, bridgePrefix)
}

// connect makes sure that the network's switch runs and has connected the
// machines with these hostnames, or all that run.
func (h *Host) connect(ctx context.Context, network string, hostnames ...clade.Name) error {
	if !userNetwork(network) {
		return nil
	}
	name := clade.Name(network)
	if err := os.MkdirAll(h.switchPath(name, ""), 0o700); err != nil {
		return fileError("connect", "network "+network, err)
	}
	ctx, cancel := context.WithTimeout(ctx, switchWait)
	defer cancel()
	spawn := func(context.Context) error { return h.spawnSwitch(name) }
	return vswitch.Ensure(ctx, h.switchPath(name, switchControl), spawn, hostnames...)
}

// spawnSwitch starts the network's switch process, which outlives this one. Of
// two that are started at once, one serves.
func (h *Host) spawnSwitch(name clade.Name) error {
	log, err := os.OpenFile(h.switchPath(name, switchLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(h.Self[0], append(h.Self[1:len(h.Self):len(h.Self)], "switch", string(name))...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.did("switch started")
	go func() { _ = cmd.Wait() }() // reaps it if this process lives on
	return nil
}

// endSwitch ends a network's switch, if it runs, and removes what it left, up to
// the home's run directory where nothing else is in it.
func (h *Host) endSwitch(ctx context.Context, name clade.Name) error {
	if err := vswitch.Stop(ctx, h.switchPath(name, switchControl)); err != nil {
		return err
	}
	err := os.RemoveAll(h.switchPath(name, ""))
	_ = os.Remove(filepath.Join(h.Run, switchesDir)) // refused while others are in it
	_ = os.Remove(h.Run)
	return err
}
