package identity

import (
	"io/fs"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// addressMarks are static addresses. They are off: a guest that has one may be on
// a network where nothing else gives it one. The audit finds twins that share it;
// erased, the same connection asks DHCP.
func addressMarks() []Mark {
	const why = "two machines with one address take the network from each other"
	const from = "DHCP, which the configuration then asks"
	return []Mark{
		{
			Name: "ifupdown-address", Kind: Conflict, Default: false, Where: "Debian, Alpine",
			Why: why, Source: "man 5 interfaces", Regenerates: from,
			Paths: []string{"etc/network/interfaces", "etc/network/interfaces.d/*"},
			way:   edit{find: findIfupdownAddress, fix: fixIfupdownAddress},
		},
		{
			Name: "netplan-address", Kind: Conflict, Default: false, Where: "Ubuntu, Debian",
			Why: why, Source: "https://netplan.readthedocs.io/en/stable/netplan-yaml/", Regenerates: from,
			Paths: []string{"etc/netplan/*.yaml"},
			way:   edit{find: findNetplanAddress, fix: fixNetplanAddress},
		},
		{
			Name: "networkd-address", Kind: Conflict, Default: false, Where: "any",
			Why: why, Source: "man 5 systemd.network", Regenerates: from,
			Paths: []string{"etc/systemd/network/*.network"},
			way:   edit{find: addressesIn(networkdAddress, "[Network]", "[Address]"), fix: fixNetworkdAddress},
		},
		{
			Name: "networkmanager-address", Kind: Conflict, Default: false, Where: "any",
			Why: why, Source: "man 5 nm-settings-keyfile", Regenerates: from,
			Paths: []string{"etc/NetworkManager/system-connections/*"},
			way:   edit{find: addressesIn(networkManagerAddress, "[ipv4]", "[ipv6]"), fix: fixNetworkManagerAddress},
		},
		{
			Name: "ifcfg-address", Kind: Conflict, Default: false, Where: "Fedora, RHEL; SUSE",
			Why: why, Source: "https://github.com/NetworkManager/NetworkManager/blob/main/src/core/settings/plugins/ifcfg-rh/nms-ifcfg-rh-utils.c (IPADDR); https://github.com/openSUSE/wicked/blob/master/man/ifcfg.5.in", Regenerates: from,
			Paths: []string{"etc/sysconfig/network-scripts/ifcfg-*", "etc/sysconfig/network/ifcfg-*"},
			way:   edit{find: addressesIn(ifcfgAddress), fix: fixIfcfgAddress},
		},
		{
			Name: "dhcpcd-address", Kind: Conflict, Default: false, Where: "Debian, Raspberry Pi OS",
			Why: why, Source: "man 5 dhcpcd.conf", Regenerates: from,
			Paths: []string{"etc/dhcpcd.conf"},
			way:   edit{find: addressesIn(dhcpcdAddress), fix: dropping(dhcpcdStatic)},
		},
	}
}

var (
	ifupdownAddress       = regexp.MustCompile(`^\s*address\s+(\S+)`)
	networkdAddress       = regexp.MustCompile(`^\s*Address\s*=\s*(\S+)`)
	networkManagerAddress = regexp.MustCompile(`^\s*address(?:es)?\d*\s*=\s*([^\s,;]+)`)
	ifcfgAddress          = regexp.MustCompile(`^\s*(?:IPADDR\w*|IPV6ADDR)\s*=\s*["']?([^\s"']+)`)
	dhcpcdAddress         = regexp.MustCompile(`^\s*static\s+ip6?_address\s*=\s*(\S+)`)
	dhcpcdStatic          = regexp.MustCompile(`^\s*static\s+(?:ip6?_address|routers)\s*=`)
)

// addressesIn returns the addresses in the first group of re, line by line: of the
// whole file, or of the sections of these names.
func addressesIn(re *regexp.Regexp, names ...string) func(fs.FS, string, string) []string {
	return func(_ fs.FS, _, body string) []string {
		var found []string
		for _, s := range sections(body) {
			if len(names) > 0 && !slices.Contains(names, s.name) {
				continue
			}
			for line := range strings.Lines(s.text) {
				found = appendOwn(found, re, line)
			}
		}
		return found
	}
}

// appendOwn appends the address that re finds in a line, if it is one's own.
func appendOwn(found []string, re *regexp.Regexp, line string) []string {
	if m := re.FindStringSubmatch(line); m != nil {
		if a := own(m[1]); a != "" {
			found = append(found, a)
		}
	}
	return found
}

// own returns the address in a text with or without a prefix's length, and "" for
// what every machine has: loopback, and the unspecified address.
func own(text string) string {
	text, _, _ = strings.Cut(text, "/")
	a, err := netip.ParseAddr(text)
	if err != nil || a.IsLoopback() || a.IsUnspecified() {
		return ""
	}
	return a.String()
}

// dropping is a fix that leaves out the lines that re matches.
func dropping(re *regexp.Regexp) func(fs.FS, string, string) (string, error) {
	return func(_ fs.FS, _, body string) (string, error) {
		var out strings.Builder
		for line := range strings.Lines(body) {
			if !re.MatchString(line) {
				out.WriteString(line)
			}
		}
		return out.String(), nil
	}
}

var (
	ifaceStatic = regexp.MustCompile(`^(\s*iface\s+\S+\s+(inet6?)\s+)static(\s*)$`)
	stanza      = regexp.MustCompile(`^\s*(?:iface|auto|allow-\S+|mapping|source|source-directory|no-auto-down|no-scripts)\b`)
	ifaceOwn    = regexp.MustCompile(`^\s*(?:address|netmask|gateway|broadcast|network)\s`)
)

// eachStatic calls fn for each line of /etc/network/interfaces, and says whether it
// is one of a static stanza.
func eachStatic(body string, fn func(line string, static bool)) {
	static := false
	for line := range strings.Lines(body) {
		if stanza.MatchString(line) {
			static = ifaceStatic.MatchString(line)
		}
		fn(line, static)
	}
}

func findIfupdownAddress(_ fs.FS, _, body string) []string {
	var found []string
	eachStatic(body, func(line string, static bool) {
		if static {
			found = appendOwn(found, ifupdownAddress, line)
		}
	})
	return found
}

// fixIfupdownAddress makes static stanzas ask DHCP, or router advertisements.
func fixIfupdownAddress(_ fs.FS, _, body string) (string, error) {
	var out strings.Builder
	eachStatic(body, func(line string, static bool) {
		m := ifaceStatic.FindStringSubmatch(line)
		switch {
		case m != nil:
			out.WriteString(m[1] + map[string]string{"inet": "dhcp", "inet6": "auto"}[m[2]] + m[3])
		case !static || !ifaceOwn.MatchString(line):
			out.WriteString(line)
		}
	})
	return out.String(), nil
}

var ifcfgOwn = regexp.MustCompile(`^\s*(?:IPADDR\w*|IPV6ADDR\w*|NETMASK\w*|PREFIX\w*|GATEWAY\w*|BROADCAST\w*|NETWORK|IPV6_DEFAULTGW|BOOTPROTO)\s*=`)

// fixIfcfgAddress makes an ifcfg file ask DHCP.
func fixIfcfgAddress(fsys fs.FS, name, body string) (string, error) {
	rest, err := dropping(ifcfgOwn)(fsys, name, body)
	return rest + "BOOTPROTO=dhcp\n", err
}

// fixNetworkManagerAddress sets the method of what has addresses to auto.
func fixNetworkManagerAddress(_ fs.FS, _, body string) (string, error) {
	var out strings.Builder
	for _, s := range sections(body) {
		if s.name != "[ipv4]" && s.name != "[ipv6]" {
			out.WriteString(s.text)
			continue
		}
		for line := range strings.Lines(s.text) {
			key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch {
			case networkManagerAddress.MatchString(line), key == "gateway":
			case key == "method" && strings.Contains(line, "manual"):
				out.WriteString("method=auto\n")
			default:
				out.WriteString(line)
			}
		}
	}
	return out.String(), nil
}

var networkdOwn = regexp.MustCompile(`^\s*(?:Address|Gateway|DHCP)\s*=`)

// fixNetworkdAddress leaves out sections of addresses and of routes, and makes the
// network ask DHCP.
func fixNetworkdAddress(fsys fs.FS, name, body string) (string, error) {
	var out strings.Builder
	for _, s := range sections(body) {
		switch s.name {
		case "[Address]", "[Route]":
		case "[Network]":
			head, rest, _ := strings.Cut(s.text, "\n")
			rest, err := dropping(networkdOwn)(fsys, name, rest)
			if err != nil {
				return "", err
			}
			out.WriteString(head + "\nDHCP=yes\n" + rest)
		default:
			out.WriteString(s.text)
		}
	}
	return out.String(), nil
}

// A section is a part of a file like those of networkd: its head, "[Network]", and
// its text with the head.
type section struct{ name, text string }

// sections returns the sections of body; what is before the first has no name.
func sections(body string) []section {
	all := []section{{}}
	for line := range strings.Lines(body) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "[") {
			all = append(all, section{name: name})
		}
		all[len(all)-1].text += line
	}
	return all
}
