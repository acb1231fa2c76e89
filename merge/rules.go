package merge

import (
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clade-vm/clade"
)

// passed are the directories whose entries live for one boot only.
var passed = []string{"proc", "sys", "run", "tmp", "dev"}

// passing reports whether a path is not looked at: it is made anew at each boot,
// or belongs to a file system itself.
func passing(name string) bool {
	dir, base := path.Split(name)
	for _, p := range passed {
		if dir == p+"/" {
			return true
		}
	}
	return base == "lost+found"
}

// made are caches, which programs make anew where they are older than what they
// are made from; debconf keeps answers in its own.
var made = []string{"var/cache", "var/lib/apt/lists"}

const answers = "var/cache/debconf"

// traces are where a machine writes down its own life.
var traces = []string{"var/log", "var/lib/systemd/timers", "var/lib/systemd/random-seed", "var/lib/logrotate",
	"etc/sudoers.d/90-cloud-init-users"} // cloud-init's, with the day in it

// rule returns whose version is taken of what both sides changed, where nobody
// needs to be asked, and why.
func (c *comparison) rule(name string, own bool) (clade.Side, string) {
	switch {
	case own:
		return clade.CloneSide, "identity"
	case within(traces, name), within(c.Traces, name):
		return clade.CloneSide, "a trace of its own life"
	case within(made, name) && !within([]string{answers}, name):
		return clade.TemplateSide, "a cache, made anew"
	}
	return "", ""
}

// databases are files that both sides can have changed for good reasons and that
// are right only as a whole.
var databases = []struct {
	why   string
	names []string
}{
	{"both installed, upgraded or removed packages: their records are right only as a whole. Take one side and install on it what the other had",
		[]string{"var/lib/dpkg", "var/lib/rpm", "usr/lib/sysimage/rpm", "var/lib/pacman", "lib/apk", "usr/lib/apk", "var/lib/apt/extended_states"}},
	{"both changed accounts: the numbers of users and groups are right only as a whole. Take one side and make on it the accounts that the other had",
		accounts},
	{"a database of its own: right only as a whole", []string{"var/cache/debconf", "etc/alternatives", "var/lib/ucf"}},
}

// known says why a file cannot be merged, where that is known.
func (c *comparison) known(name string) string {
	if c.cannot != "" && within(accounts, name) {
		return "both changed accounts, and they cannot be merged: " + c.cannot
	}
	for _, d := range databases {
		if within(d.names, name) {
			return d.why
		}
	}
	return ""
}

// within reports whether a path is one of the names, or below one.
func within(names []string, name string) bool {
	for _, n := range names {
		if rest, ok := strings.CutPrefix(name, n); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// maxShown is how many bytes of a path are shown.
const maxShown = 512

// shown is a path for people: absolute, bounded, and quoted where it is no text.
func shown(name string) string {
	name = "/" + name
	if len(name) > maxShown {
		name = name[:maxShown/2] + "…" + name[len(name)-maxShown/2:]
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.QuoteToASCII(name)
	}
	return name
}
