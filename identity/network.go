package identity

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// mac matches a MAC address as configuration files write it.
const mac = `[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}`

// networkMarks are the files that tie the network to the master's card. A clone
// has another MAC: what matches the old one leaves it without a network, and what
// sets the old one gives two machines the same. Either line goes, the rest of the
// configuration stays.
func networkMarks() []Mark {
	const why = "a clone has another MAC: the configuration does not match its card, or gives it the master's address"
	const fromNow = "not needed: the configuration no longer names a MAC"
	return []Mark{
		{
			Name: "udev-net-rules", Family: "network", Kind: Conflict, Default: true,
			Why:         "the name eth0 stays reserved for the master's card, and the clone's becomes eth1, which nothing configures",
			Source:      "man 7 udev; /usr/share/doc/udev/README.Debian.gz",
			Paths:       []string{"etc/udev/rules.d/*persistent-net*.rules"},
			Regenerates: "udev, on those systems that still write it",
			way:         remove{value: fingerprint},
		},
		{
			Name: "networkd-mac", Family: "network", Kind: Conflict, Default: true,
			Why: why, Source: "man 5 systemd.network; man 5 systemd.link", Regenerates: fromNow,
			Paths: []string{"etc/systemd/network/*.network", "etc/systemd/network/*.link", "etc/systemd/network/*.netdev"},
			way:   edit{find: findNetworkd, fix: fixNetworkd},
		},
		{
			Name: "netplan-mac", Family: "network", Kind: Conflict, Default: true,
			Why: why, Source: "https://netplan.readthedocs.io/en/stable/netplan-yaml/", Regenerates: fromNow,
			Paths: []string{"etc/netplan/*.yaml"},
			way:   edit{find: findNetplan, fix: fixNetplan},
		},
		{
			Name: "ifupdown-mac", Family: "network", Kind: Conflict, Default: true,
			Why: why, Source: "man 5 interfaces", Regenerates: fromNow,
			Paths: []string{"etc/network/interfaces", "etc/network/interfaces.d/*"},
			way:   lines(ifupdownMAC),
		},
		{
			Name: "networkmanager-mac", Family: "network", Kind: Conflict, Default: true,
			Why: why, Source: "man 5 nm-settings-keyfile", Regenerates: fromNow,
			Paths: []string{"etc/NetworkManager/system-connections/*"},
			way:   lines(networkManagerMAC),
		},
		{
			Name: "ifcfg-mac", Family: "network", Kind: Conflict, Default: true,
			Why: why, Source: "/usr/share/doc/initscripts/sysconfig.txt", Regenerates: fromNow,
			Paths: []string{"etc/sysconfig/network-scripts/ifcfg-*", "etc/sysconfig/network/ifcfg-*"},
			way:   lines(ifcfgMAC),
		},
	}
}

var (
	ifupdownMAC       = regexp.MustCompile(`^\s*hwaddress\s+(?:ether\s+)?(` + mac + `)`)
	networkManagerMAC = regexp.MustCompile(`^\s*(?:cloned-)?mac-address\s*=\s*(` + mac + `)`)
	ifcfgMAC          = regexp.MustCompile(`^\s*(?:HWADDR|MACADDR|LLADDR)\s*=\s*["']?(` + mac + `)`)
)

// lines is the way of marks that are lines of their own: those that re matches go,
// and its first group is the value.
func lines(re *regexp.Regexp) way {
	return edit{
		find: func(_ fs.FS, _, body string) []string {
			var values []string
			for line := range strings.Lines(body) {
				if m := re.FindStringSubmatch(line); m != nil {
					values = append(values, strings.ToLower(m[1]))
				}
			}
			return values
		},
		fix: func(_ fs.FS, _, body string) (string, error) {
			var out strings.Builder
			for line := range strings.Lines(body) {
				if !re.MatchString(line) {
					out.WriteString(line)
				}
			}
			return out.String(), nil
		},
	}
}

var networkdMAC = regexp.MustCompile(`^\s*(?:Permanent)?MACAddress\s*=.*?(` + mac + `)`)

func findNetworkd(_ fs.FS, _, body string) []string {
	var values []string
	for line := range strings.Lines(body) {
		if m := networkdMAC.FindStringSubmatch(line); m != nil {
			values = append(values, strings.ToLower(m[1]))
		}
	}
	return values
}

// fixNetworkd takes the lines with a MAC out of a networkd file. A [Match] without
// any condition would match all cards and lo: in a .network file it becomes "any
// Ethernet card"; a .link file, which then only names a card that is gone, goes.
func fixNetworkd(_ fs.FS, name, body string) (string, error) {
	var out []string
	section, matchAt, conditions, dropped := "", -1, 0, false
	for line := range strings.Lines(body) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "[") {
			section = trimmed
		}
		if networkdMAC.MatchString(line) {
			dropped = dropped || section == "[Match]"
			continue
		}
		out = append(out, line)
		switch {
		case trimmed == "[Match]":
			matchAt = len(out)
		case section == "[Match]" && strings.Contains(trimmed, "=") && !strings.HasPrefix(trimmed, "#") && !strings.HasPrefix(trimmed, ";"):
			conditions++
		}
	}
	if dropped && conditions == 0 {
		if path.Ext(name) == ".link" || matchAt < 0 {
			return "", nil
		}
		out = slices.Insert(out, matchAt, "Type=ether\n")
	}
	return strings.Join(out, ""), nil
}

var (
	netplanMAC  = regexp.MustCompile(`(?:"macaddress"|'macaddress'|\bmacaddress)\s*:\s*["']?(` + mac + `)["']?`)
	netplanFlow = regexp.MustCompile(`,?\s*` + netplanMAC.String() + `(\s*,)?`)
	netplanNone = regexp.MustCompile(`\{\s*\}`)
	netplanKey  = regexp.MustCompile(`^(\s*(?:-\s+)?)["']?([^\s"':#]+)["']?\s*:(.*)\n?$`)
)

func findNetplan(_ fs.FS, _, body string) []string {
	var values []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, m := range netplanMAC.FindAllStringSubmatch(line, -1) {
			values = append(values, strings.ToLower(m[1]))
		}
	}
	return values
}

// fixNetplan takes the MACs out of a netplan file, line by line, so that comments
// and order stay. A match that has no other condition becomes one of all cards
// whose name begins with e: Ethernet, by any naming scheme.
func fixNetplan(_ fs.FS, _, body string) (string, error) {
	all := strings.SplitAfter(body, "\n")
	var out strings.Builder
	for i, line := range all {
		if strings.HasPrefix(strings.TrimSpace(line), "#") || !netplanMAC.MatchString(line) {
			out.WriteString(line)
			continue
		}
		key := netplanKey.FindStringSubmatch(line)
		switch {
		case key == nil || key[2] != "macaddress":
			out.WriteString(fixFlow(line, key))
		case inMatchAlone(all, i):
			out.WriteString(key[1] + "name: \"e*\"\n")
		}
	}
	return out.String(), nil
}

// fixFlow takes a MAC out of a line such as "match: {macaddress: x, name: y}".
func fixFlow(line string, key []string) string {
	bare := netplanFlow.ReplaceAllStringFunc(line, func(s string) string {
		if strings.HasPrefix(s, ",") && strings.HasSuffix(strings.TrimSpace(s), ",") {
			return ","
		}
		return ""
	})
	if key != nil && key[2] == "match" && netplanNone.MatchString(bare) {
		return netplanMAC.ReplaceAllString(line, `name: "e*"`)
	}
	return bare
}

// inMatchAlone reports whether line i of a netplan file, a macaddress, is the only
// condition in a block "match:".
func inMatchAlone(all []string, i int) bool {
	indent := func(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }
	blank := func(s string) bool {
		t := strings.TrimSpace(s)
		return t == "" || t[0] == '#'
	}
	depth := indent(all[i])
	parent := -1
	for j := i - 1; j >= 0 && parent < 0; j-- {
		if blank(all[j]) {
			continue
		}
		if indent(all[j]) == depth {
			return false
		}
		if indent(all[j]) < depth {
			parent = j
		}
	}
	if parent < 0 {
		return false
	}
	key := netplanKey.FindStringSubmatch(strings.TrimRight(all[parent], "\n"))
	if key == nil || key[2] != "match" {
		return false
	}
	for _, next := range all[i+1:] {
		if !blank(next) {
			return indent(next) < depth
		}
	}
	return true
}
