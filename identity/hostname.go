package identity

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// localhost is the hostname of a machine that has none. Of the ways to have none
// it is the one that boots well everywhere: cloud-init and systemd-hostnamed
// replace it, dhclient's and networkd's DHCP name is taken (only a static name
// other than localhost wins over it), and without any of these sudo and mail still
// resolve their own name. A missing file leaves some of them without a name.
const localhost = "localhost\n"

// hostnameMarks: those that are told apart by the name in /etc/hostname come before
// it. It is long because it is a table: one mark after the other, no logic.
func hostnameMarks() []Mark {
	toLocalhost := reset{value: ownName, to: func(fs.FS) string { return localhost }}
	return []Mark{
		{
			Name: "hosts", Kind: Conflict, Default: true, Where: "any",
			Why:         "lines of the master's own name make a clone take that name, or another machine, for itself",
			Source:      "https://www.debian.org/doc/manuals/debian-reference/ch05#_the_hostname_resolution",
			Paths:       []string{"etc/hosts"},
			Regenerates: "cloud-init with manage_etc_hosts; otherwise not needed, localhost stays",
			way:         edit{find: ownHosts, fix: dropOwnHosts},
		},
		{
			Name: "postfix-myhostname", Kind: Conflict, Default: true, Where: "any",
			Why:         "two mail servers of one name take each other's mail for their own: \"mail loops back to myself\"",
			Source:      "https://www.postfix.org/postconf.5.html#myhostname",
			Paths:       []string{"etc/postfix/main.cf"},
			Regenerates: "not needed: Postfix asks for the hostname where it is not told. A name other than the master's stays",
			way:         edit{find: findMyhostname, fix: dropMyhostname},
		},
		{
			Name: "mailname", Kind: Conflict, Default: true, Where: "Debian, Ubuntu",
			Why:         "mail of every clone would come from the master's name",
			Source:      "https://www.debian.org/doc/debian-policy/ch-customized-programs.html",
			Paths:       []string{"etc/mailname"},
			Regenerates: "dpkg-reconfigure of the mail server",
			way:         toLocalhost,
		},
		{
			Name: "hostname", Kind: Conflict, Default: true, Where: "any",
			Why:         "twins take each other's place in DNS, in DHCP leases, in logs and in monitoring",
			Source:      "man 5 hostname",
			Paths:       []string{"etc/hostname", "etc/HOSTNAME"},
			Regenerates: "cloud-init (local-hostname), or the name that DHCP gives",
			way:         toLocalhost,
		},
		{
			Name: "pretty-hostname", Kind: Conflict, Default: true, Where: "any",
			Why:         "the name under which desktops show a machine in the network is the master's",
			Source:      "man 5 machine-info",
			Paths:       []string{"etc/machine-info"},
			Regenerates: "not needed: the hostname is shown",
			way:         nameLines(prettyHostname),
		},
		{
			Name: "hostid", Kind: Conflict, Default: true, Where: "any",
			Why:         "gethostid(3) is the same on twins: ZFS takes a pool for its own that another machine holds; licences too",
			Source:      "man 3 gethostid; https://github.com/openzfs/zfs/blob/master/man/man8/zgenhostid.8",
			Paths:       []string{"etc/hostid"},
			Regenerates: "zgenhostid; without the file it is derived from the address",
			way:         remove{value: fingerprint},
		},
	}
}

var prettyHostname = regexp.MustCompile(`^\s*PRETTY_HOSTNAME\s*=\s*["']?([^"'\n]+)`)

var myhostname = regexp.MustCompile(`(?m)^myhostname\s*=\s*(\S+).*\n?`)

// findMyhostname returns the name in Postfix's main.cf where it is the machine's
// own: Debian writes it there when the package is installed.
func findMyhostname(fsys fs.FS, _, body string) []string {
	own := ownNameOf(fsys)
	var names []string
	for _, m := range myhostname.FindAllStringSubmatch(body, -1) {
		if isOwn(m[1], own) {
			names = append(names, m[1])
		}
	}
	return names
}

func dropMyhostname(fsys fs.FS, _, body string) (string, error) {
	own := ownNameOf(fsys)
	return myhostname.ReplaceAllStringFunc(body, func(line string) string {
		if isOwn(myhostname.FindStringSubmatch(line)[1], own) {
			return ""
		}
		return line
	}), nil
}

// isOwn reports whether name is own, the short hostname, with or without a domain.
func isOwn(name, own string) bool {
	name = strings.ToLower(name)
	return own != "" && (name == own || strings.HasPrefix(name, own+"."))
}

// ownName returns the name in a text such as /etc/hostname: its first line that is
// no comment, and "" for those that every machine may have.
func ownName(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if generic(line) {
			return ""
		}
		return line
	}
	return ""
}

// generic reports whether name is one that says "this machine" on any machine.
func generic(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "localhost") || strings.HasPrefix(name, "ip6-") || name == "loopback"
}

// ownHosts returns the names by which /etc/hosts calls the machine itself.
func ownHosts(fsys fs.FS, _, body string) []string {
	own := ownNameOf(fsys)
	var names []string
	for line := range strings.Lines(body) {
		for _, name := range ownIn(line, own) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// ownNameOf returns the short hostname of a guest, in lower case.
func ownNameOf(fsys fs.FS) string {
	body, _ := text(fsys, "etc/hostname") // what cannot be read as a name is found by the mark hostname
	short, _, _ := strings.Cut(ownName(body), ".")
	return strings.ToLower(short)
}

// ownIn returns the names in a line of /etc/hosts that are the machine's own: all
// of 127.0.1.1, where Debian's installer and cloud-init put it, and own, with or
// without a domain, elsewhere.
func ownIn(line, own string) []string {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return nil
	}
	var names []string
	for _, name := range fields[1:] {
		if isOwn(name, own) || (fields[0] == "127.0.1.1" && !generic(name)) {
			names = append(names, name)
		}
	}
	return names
}

// dropOwnHosts takes the machine's own names out of /etc/hosts, and with them the
// lines that have no other.
func dropOwnHosts(fsys fs.FS, _, body string) (string, error) {
	own := ownNameOf(fsys)
	var out strings.Builder
	for line := range strings.Lines(body) {
		names := ownIn(line, own)
		if len(names) == 0 {
			out.WriteString(line)
			continue
		}
		entry, _, _ := strings.Cut(line, "#")
		rest := slices.DeleteFunc(strings.Fields(entry), func(f string) bool { return slices.Contains(names, f) })
		if len(rest) > 1 {
			out.WriteString(strings.Join(rest, "\t") + "\n")
		}
	}
	if out.Len() == 0 {
		return "127.0.0.1\tlocalhost\n", nil
	}
	return out.String(), nil
}
