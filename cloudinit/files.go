package cloudinit

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A file is one of the volume's. The bodies are JSON, which is YAML too and
// leaves nothing to guess: no text of the caller's can become a key or a number.
type file struct {
	name string
	data []byte
}

// files returns the files of the volume.
func (s *Seed) files() ([]file, error) {
	meta := map[string]any{"instance-id": s.InstanceID, "local-hostname": s.Hostname}
	if len(s.SSHKeys) > 0 {
		var keys []string
		for _, k := range s.SSHKeys {
			keys = append(keys, strings.TrimSpace(k))
		}
		meta["public-keys"] = keys
	}
	if s.Local {
		meta["dsmode"] = "local"
	}
	user := s.UserData
	if len(user) == 0 {
		user = []byte("#cloud-config\n{}\n")
	}
	files := []file{{"user-data", user}}
	for _, f := range []struct {
		name, head string
		body       any
	}{
		{"meta-data", "", meta},
		{"network-config", "", s.network()},
		{"vendor-data", "#cloud-config\n", s.vendor()},
	} {
		if f.body == nil {
			continue
		}
		body, err := json.MarshalIndent(f.body, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		data := append(append([]byte(f.head), body...), '\n')
		if f.name == "vendor-data" && len(s.Disks) > 0 {
			if data, err = s.withDisks(data); err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
		}
		files = append(files, file{f.name, data})
	}
	return files, nil
}

// vendor is clade's own part of the configuration. One kind of host key is enough,
// and the others take longest of all on a slow machine.
func (s *Seed) vendor() any {
	v := map[string]any{
		"ssh_deletekeys":   !s.KeepKeys,
		"ssh_genkeytypes":  []string{"ed25519"},
		"manage_etc_hosts": "localhost",
		"growpart":         map[string]any{"mode": "auto", "devices": []string{"/"}},
		"resize_rootfs":    true,
	}
	if s.User != "" {
		v["user"] = map[string]any{"name": s.User}
	}
	return v
}

// network is the network configuration, version 2, or nil for the guest's own.
func (s *Seed) network() any {
	if len(s.NICs) == 0 {
		return nil
	}
	ethernets := make(map[string]any)
	for i, n := range s.NICs {
		e := map[string]any{"match": map[string]any{"macaddress": n.MAC.String()}}
		if n.Driver != "" {
			e["match"] = map[string]any{"driver": n.Driver}
		}
		if n.Address.IsValid() {
			e["addresses"] = []string{n.Address.String()}
			if n.Gateway.IsValid() {
				to := "0.0.0.0/0"
				if n.Gateway.Is6() {
					to = "::/0"
				}
				e["routes"] = []any{map[string]any{"to": to, "via": n.Gateway}}
			}
			if len(n.DNS) > 0 {
				e["nameservers"] = map[string]any{"addresses": n.DNS}
			}
		} else {
			e["dhcp4"] = true
			e["dhcp-identifier"] = "mac" // never an id that a clone inherited
			// The network's domain, so that machines find each other by bare names; but a name
			// of its own: systemd would start a service to be told the same.
			e["dhcp4-overrides"] = map[string]any{"use-domains": true, "use-hostname": false}
		}
		ethernets[fmt.Sprintf("nic%d", i)] = e
	}
	return map[string]any{"version": 2, "ethernets": ethernets}
}
