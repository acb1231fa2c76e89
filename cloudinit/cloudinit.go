// Package cloudinit makes seeds: the small volumes with which cloud-init, in the
// guest, takes its identity from clade (data source NoCloud).
//
// A seed is a pure function of its fields: the same fields give the same bytes.
// What the user wrote is handed on unchanged as user-data; what clade adds lies
// beside it, in meta-data and in vendor-data, which user-data overrides.
package cloudinit

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/clade-vm/clade"
)

// The limits of a seed.
const (
	MaxUserData = 384 * clade.KiB
	maxKeys     = 64
	maxNICs     = 16
)

// A Seed is what one guest is told at boot. A new InstanceID makes cloud-init
// take the machine for a new one, with new host keys.
type Seed struct {
	InstanceID string
	Hostname   clade.Name
	User       string   // the user to make; empty: the image's own default user
	SSHKeys    []string // lines of authorized_keys, for that user
	UserData   []byte   // the user's own cloud-config, script or archive; may be nil
	NICs       []NIC    // empty: the guest's own default, DHCP on the first NIC
	Disks      []Disk   // data disks
	Local      bool     // cloud-init does its work before the network, which may never come
	KeepKeys   bool     // SSH host keys that are there stay
}

// A NIC is how one network interface gets its address.
type NIC struct {
	MAC     net.HardwareAddr // or
	Driver  string           // of an interface whose MAC is not known yet, such as "virtio_net"
	Address netip.Prefix     // with the prefix length of its network; zero: DHCP
	Gateway netip.Addr       // with Address only; zero: none
	DNS     []netip.Addr     // with Address only
}

var (
	instanceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	userForm     = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
)

// validate returns an error of kind Invalid for what a guest must not be told.
// It quotes no user-data and no keys, which may be secret.
func (s *Seed) validate() error {
	if !instanceForm.MatchString(s.InstanceID) {
		return invalid("instance-id %.80q is not 1 to 128 letters, digits, dots, hyphens", s.InstanceID)
	}
	if _, err := clade.ParseName(string(s.Hostname)); err != nil {
		return err
	}
	if s.User != "" && !userForm.MatchString(s.User) {
		return invalid("%.80q is not a valid name for a user", s.User)
	}
	if size := clade.Bytes(len(s.UserData)); size > MaxUserData {
		return invalid("user-data has %v, more than %v", size, MaxUserData)
	}
	if len(s.SSHKeys) > maxKeys || len(s.NICs) > maxNICs {
		return invalid("more than %d keys or %d network interfaces", maxKeys, maxNICs)
	}
	for i, key := range s.SSHKeys {
		if err := checkKey(key); err != nil {
			return invalid("SSH key %d: %w", i+1, err)
		}
	}
	for i, n := range s.NICs {
		if err := n.check(); err != nil {
			return invalid("network interface %d: %w", i+1, err)
		}
	}
	if len(s.Disks) > maxDisks {
		return invalid("more than %d data disks", maxDisks)
	}
	for i, d := range s.Disks {
		if err := d.check(); err != nil {
			return invalid("data disk %d: %w", i+1, err)
		}
	}
	return nil
}

// checkKey accepts one line of authorized_keys.
func checkKey(line string) error {
	if len(line) > 16<<10 || strings.ContainsAny(strings.TrimSpace(line), "\r\n\x00") {
		return errors.New("is not one line")
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil {
		return errors.New("is not a public key")
	}
	return nil
}

func (n NIC) check() error {
	if n.Driver != "" && n.MAC == nil && n.Address == (netip.Prefix{}) && userForm.MatchString(n.Driver) {
		return nil
	}
	if len(n.MAC) != 6 || n.MAC[0]&1 != 0 {
		return fmt.Errorf("%v is not the address of one interface", n.MAC)
	}
	static := n.Address != netip.Prefix{}
	switch {
	case !static && (n.Gateway.IsValid() || len(n.DNS) > 0):
		return errors.New("a gateway or DNS server without an address")
	case static && (!n.Address.IsValid() || n.Address.Addr().IsMulticast() || n.Address.Addr().Zone() != ""):
		return fmt.Errorf("%v is not an address", n.Address)
	case n.Gateway.IsValid() && n.Gateway.Is4() != n.Address.Addr().Is4():
		return errors.New("the gateway is of the other IP version")
	}
	for _, a := range n.DNS {
		if !a.IsValid() || a.Zone() != "" {
			return errors.New("a DNS server is not an address")
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &clade.Error{Op: "make", On: "cloud-init seed", Kind: clade.Invalid, Err: fmt.Errorf(format, args...)}
}
