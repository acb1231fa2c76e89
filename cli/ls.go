package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) lsVerb() *cobra.Command {
	var outdated, names bool
	cmd := reads(a, &cobra.Command{
		Use:   "ls",
		Short: "List machines",
		Long: `Ls lists all machines with their state, which is asked for at this moment, and why
those that are stopped are. DEPTH is how many layers lie below a machine's disks: "17 of
16" is more than there should, which clade compact mends. With --outdated it lists those only that were made of a
version of their template that is not the newest; with --names only their names, for
other commands.`,
		Example: `  clade ls
  clade stop $(clade ls --outdated --names)
  clade ls --outdated
  clade ls --json | jq -r '.[] | select(.state == "running") | .identity.ip'`,
		Args: nothing,
	}, func(ctx context.Context, s clade.Services, _ []string) ([]*clade.Machine, error) {
		machines, err := s.Machines(ctx)
		machines = slices.DeleteFunc(machines, func(m *clade.Machine) bool { return outdated && m.Newer == "" })
		return filled(machines), err
	}, func(machines []*clade.Machine) error {
		if names {
			return a.printMade(machines, false)
		}
		return a.printTable(inRows(machines))
	})
	cmd.Flags().BoolVar(&outdated, "outdated", false, "only those whose template has a newer version")
	cmd.Flags().BoolVar(&names, "names", false, "only names, one a line")
	return cmd
}

// inRows is machines as a table. Reasons have a column where there are any.
func inRows(machines []*clade.Machine) *table {
	t := &table{}
	reasons := slices.ContainsFunc(machines, func(m *clade.Machine) bool { return m.Reason != "" })
	row := func(reason string, cells ...string) {
		if reasons {
			cells = append(cells, reason)
		}
		t.row(cells...)
	}
	row("REASON", "NAME", "STATE", "IP", "SOURCE", "CLONE", "DEPTH", "CPUS", "MEMORY", "DISK")
	for _, m := range machines {
		row(m.Reason, string(m.Name), string(m.State), address(m), sourceOf(m), string(m.Clone), depth(m),
			strconv.Itoa(m.Hardware.CPUs), m.Hardware.Memory.String(), virtual(m).String())
	}
	return t
}

// depth says how many layers lie below m's disks, and how many may where these are more.
func depth(m *clade.Machine) string {
	if m.Budget > 0 {
		return fmt.Sprintf("%d of %d", m.Depth(), m.Budget)
	}
	return strconv.Itoa(m.Depth())
}

func address(m *clade.Machine) string {
	if m.Identity.IP.IsValid() {
		return m.Identity.IP.String()
	}
	return ""
}

func virtual(m *clade.Machine) (sum clade.Bytes) {
	for _, d := range m.Disks {
		sum += d.Virtual
	}
	return sum
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

func hardware(h clade.Hardware) string {
	words := []string{fmt.Sprintf("%d processors", h.CPUs), h.Memory.String() + " memory"}
	if h.CPUs == 1 {
		words[0] = "1 processor"
	}
	if h.Firmware != "" {
		words = append(words, string(h.Firmware))
	}
	return strings.Join(words, ", ")
}

func (a *app) showVerb() *cobra.Command {
	return reads(a, &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a machine",
		Long:              `Show prints all that is known of a machine.`,
		Example:           `  clade show web-1 --json`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completeMachine,
	}, func(ctx context.Context, s clade.Services, args []string) (*clade.Machine, error) {
		name, err := clade.ParseName(args[0])
		if err != nil {
			return nil, err
		}
		return s.Machine(ctx, name)
	}, func(m *clade.Machine) error {
		return a.printTable(describe(m))
	})
}

// dataOf says of a data disk what it is, after what is said of every disk.
func dataOf(label, mount string) string {
	if label == "" {
		return ""
	}
	return fmt.Sprintf(", data disk %s for %s", label, mount)
}

// sourceOf says what m was made from, and whether there is a newer version of it.
func sourceOf(m *clade.Machine) string {
	if m.Newer == "" {
		return m.Source
	}
	return m.Source + " (" + m.Newer + " is newer)"
}

// describe is a machine as a table of two columns.
func describe(m *clade.Machine) *table {
	t := &table{}
	state := string(m.State)
	if m.PID > 0 {
		state += fmt.Sprintf(", process %d", m.PID)
	}
	if m.Reason != "" {
		state += ": " + m.Reason
	}
	t.row("machine", string(m.Name))
	t.row("id", m.ID)
	t.row("state", state)
	t.row("source", sourceOf(m))
	t.row("clone", string(m.Clone))
	t.row("hostname", string(m.Identity.Hostname))
	t.row("user", m.User)
	t.row("network", m.Network)
	t.row("address", address(m))
	t.row("MAC", m.Identity.MAC)
	t.row("UUID", m.Identity.UUID)
	t.row("instance-id", m.Identity.InstanceID)
	t.row("hardware", hardware(m.Hardware))
	for _, d := range m.Disks {
		base := "rests on nothing"
		if d.Layer != "" {
			base = fmt.Sprintf("rests on layer %s, depth %d", d.Layer, d.Depth)
		}
		t.row(fmt.Sprintf("disk %d", d.Slot), fmt.Sprintf("%v, serial %s, %s%s", d.Virtual, d.Serial, base, dataOf(d.Label, d.Mount)))
	}
	if m.Budget > 0 {
		t.row("depth", fmt.Sprintf("%s: clade compact %s merges what only it needs", depth(m), m.Name))
	}
	t.row("created", when(m.Created))
	return t
}
