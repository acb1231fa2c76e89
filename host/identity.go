package host

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/store"
	"github.com/google/uuid"
)

// The defaults of machines whose source says nothing.
const (
	defaultCPUs    = 1
	defaultMemory  = 1 * clade.GiB
	defaultNetwork = "default"
	noNetwork      = "none"
	bridgePrefix   = "bridge:"
)

// draft is a machine's record before it has an identity.
func draft(name clade.Name, o clade.Options, base clade.Hardware, user string) *store.Machine {
	m := &store.Machine{UserData: o.UserData, SSHKeys: o.SSHKeys}
	m.ID, m.Name, m.User, m.Created = newID(), name, user, time.Now().UTC()
	m.Hardware = hardware(o.Hardware, base)
	m.Network = first(o.Network, defaultNetwork)
	if m.Network == noNetwork {
		m.Network = ""
	}
	m.Isolated = o.Isolated
	m.Identity.Hostname = first(o.Hostname, name)
	m.Identity.IP, _ = netip.ParseAddr(o.IP) // checked by checkOptions
	return m
}

// hardware is what is wanted, or else what the source has, or else the default.
func hardware(want, base clade.Hardware) clade.Hardware {
	return clade.Hardware{
		CPUs:     first(want.CPUs, base.CPUs, defaultCPUs),
		Memory:   first(want.Memory, base.Memory, defaultMemory),
		Firmware: first(want.Firmware, base.Firmware, clade.BIOS),
	}
}

// first returns the first value that is not zero.
func first[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// checkOptions refuses what could not become machines. Kind Invalid.
func checkOptions(o clade.Options, names []clade.Name) error {
	invalid := func(text, hint string) error {
		return &clade.Error{Op: "create", On: "machine", Kind: clade.Invalid, Err: errors.New(text), Hint: hint}
	}
	seen := make(map[clade.Name]bool)
	for _, name := range names {
		if _, err := clade.ParseName(string(name)); err != nil {
			return err
		}
		if seen[name] {
			return invalid(fmt.Sprintf("the name %s is given twice", name), "give each clone its own name")
		}
		seen[name] = true
	}
	if o.Hostname != "" {
		if _, err := clade.ParseName(string(o.Hostname)); err != nil {
			return err
		}
	}
	if _, err := clade.AddDataDisks(nil, o.DataDisks); err != nil {
		return err
	}
	_, ipErr := netip.ParseAddr(o.IP)
	switch {
	case len(names) == 0:
		return invalid("no name given", "give at least one name, or -n N --name 'web-{n}'")
	case len(names) > 1 && (o.IP != "" || o.Hostname != ""):
		return invalid("one address or hostname cannot serve several machines", "leave them to clade")
	case o.IP != "" && ipErr != nil:
		return invalid(fmt.Sprintf("%q is not an IP address", o.IP), "")
	case o.Hardware.CPUs < 0 || o.Hardware.CPUs > 255:
		return invalid("CPUs must be between 1 and 255", "")
	case o.Hardware.Memory != 0 && (o.Hardware.Memory < 64*clade.MiB || o.Hardware.Memory > 4*clade.TiB):
		return invalid(fmt.Sprintf("%v of memory is out of range", o.Hardware.Memory), "give 64M to 4T")
	case o.Hardware.Firmware != "" && o.Hardware.Firmware != clade.BIOS && o.Hardware.Firmware != clade.UEFI:
		return invalid(fmt.Sprintf("firmware %q is not known", o.Hardware.Firmware), "use bios or uefi")
	}
	return nil
}

// identify gives the drafted machines all that makes them themselves. It runs
// in the transaction that records them, so that no two commands give the same.
func identify(tx *store.Tx, machines []*store.Machine) error {
	taken := make(map[string]map[netip.Addr]bool)
	for _, m := range machines {
		m.Identity.UUID, m.Identity.InstanceID = uuid.NewString(), "i-"+uuid.NewString()
		for i := range m.Disks {
			m.Disks[i].Serial = fmt.Sprintf("%s-%d", m.ID, m.Disks[i].Slot)
		}
		if m.Network == "" {
			continue
		}
		m.Identity.MAC = newMAC()
		if strings.HasPrefix(m.Network, bridgePrefix) {
			if m.Identity.IP.IsValid() {
				return &clade.Error{Op: "create", On: "machine " + string(m.Name), Kind: clade.Unsupported,
					Err: errors.New("addresses on a bridge are not clade's to give"), Hint: "set it through --user-data, or use a user network"}
			}
			continue
		}
		if taken[m.Network] == nil {
			used, err := tx.Addresses(m.Network)
			if err != nil {
				return err
			}
			taken[m.Network] = used
		}
		if err := address(tx, m, taken[m.Network]); err != nil {
			return err
		}
	}
	return nil
}

// address gives m its address, the wanted one or the lowest that is free.
func address(tx *store.Tx, m *store.Machine, taken map[netip.Addr]bool) error {
	n, err := network(tx, clade.Name(m.Network))
	if err != nil {
		return retitle("create", err)
	}
	subnet, err := netip.ParsePrefix(n.Subnet)
	if err != nil {
		return err
	}
	refuse := func(kind clade.Kind, text, hint string) error {
		return &clade.Error{Op: "create", On: "machine " + string(m.Name), Kind: kind, Err: errors.New(text), Hint: hint}
	}
	if want := m.Identity.IP; want.IsValid() {
		if !usable(subnet, want) {
			return refuse(clade.Invalid, fmt.Sprintf("%s is not an address for machines in %s (%s)", want, n.Name, subnet), "")
		}
		taken[want] = true // a clash is refused, and worded, by the record's constraint
		return nil
	}
	for ip := firstAddress(subnet); subnet.Contains(ip); ip = ip.Next() {
		if usable(subnet, ip) && !taken[ip] {
			m.Identity.IP, taken[ip] = ip, true
			return nil
		}
	}
	return refuse(clade.NoSpace, fmt.Sprintf("network %s has no address left in %s", n.Name, subnet), "make another one: clade network create")
}

// usable leaves out the network's own, the gateway's and the broadcast address,
// and those that look like them.
func usable(subnet netip.Prefix, ip netip.Addr) bool {
	if !ip.Is4() || !subnet.Contains(ip) || ip == gateway(subnet) || ip == subnet.Addr() {
		return false
	}
	last := ip.As4()[3]
	return last != 0 && last != 255
}

func gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// firstAddress leaves the first nine addresses free for people.
func firstAddress(subnet netip.Prefix) netip.Addr {
	ip := subnet.Masked().Addr()
	for range 10 {
		ip = ip.Next()
	}
	return ip
}

// newMAC returns a random unicast address of the locally administered kind.
func newMAC() string {
	mac := make(net.HardwareAddr, 6)
	_, _ = rand.Read(mac) // never fails: crypto/rand
	mac[0] = mac[0]&^1 | 2
	return mac.String()
}
