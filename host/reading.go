package host

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"golang.org/x/crypto/ssh"
)

// plain is what an identity read from a guest may look like; anything else is
// shown as "(not valid)": guest text is hostile.
var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}$`)

// validMachineID is what a machine-id looks like (machine-id(5)).
var validMachineID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Read returns the identity that the running guest reports through its agent.
// What the guest does not have is empty. Kinds: NotFound, NotRunning, Timeout.
func (h *Host) Read(ctx context.Context, name clade.Name) (*clade.Reading, error) {
	reach, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	g, m, err := h.guest(reach, name, "read the identity of")
	if err != nil {
		return nil, err
	}
	defer g.Close()
	r, err := read(ctx, g)
	if err != nil {
		return nil, fileError("read the identity of", "machine "+string(name), err)
	}
	return r, h.learn(ctx, m, r.MachineID)
}

func read(ctx context.Context, g hypervisor.Guest) (*clade.Reading, error) {
	r := &clade.Reading{MACs: []string{}, IPs: []string{}, HostKeys: []string{}}
	for _, f := range []struct {
		value *string
		path  string
	}{
		{&r.Hostname, "/proc/sys/kernel/hostname"}, {&r.MachineID, "/etc/machine-id"},
		{&r.UUID, "/sys/class/dmi/id/product_uuid"}, {&r.InstanceID, "/var/lib/cloud/data/instance-id"},
	} {
		text, err := g.ReadFile(ctx, f.path, 4096)
		if errors.Is(err, clade.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if *f.value = strings.TrimSpace(string(text)); *f.value != "" && !plain.MatchString(*f.value) {
			*f.value = "(not valid)"
		}
	}
	r.UUID = strings.ToLower(r.UUID)
	for _, path := range hostKeyFiles {
		text, err := g.ReadFile(ctx, path, 16<<10)
		if err != nil {
			continue // not every kind of key is there
		}
		if key, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
			r.HostKeys = append(r.HostKeys, ssh.FingerprintSHA256(key))
		}
	}
	interfaces, err := g.Interfaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		if i.Name == "lo" || !plain.MatchString(i.MAC) {
			continue
		}
		r.MACs = append(r.MACs, strings.ToLower(i.MAC))
		for _, ip := range i.IPs {
			if plain.MatchString(ip) && !strings.HasPrefix(ip, "fe80:") {
				r.IPs = append(r.IPs, ip)
			}
		}
	}
	return r, nil
}
