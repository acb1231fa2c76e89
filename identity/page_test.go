package identity_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade/identity"
)

var update = flag.Bool("update", false, "write the generated part of docs/marks.md")

const (
	pageFile = "../docs/marks.md"
	begin    = "<!-- begin: go test ./identity -run TestPage -update -->\n"
	end      = "<!-- end -->\n"
)

// The list on the page is the list in the program.
func TestPage(t *testing.T) {
	data, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), begin)
	is, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no generated part, between %q and %q", pageFile, begin, end)
	}
	want := page()
	if is == want {
		return
	}
	if !*update {
		t.Fatalf("%s differs from identity.All(): go test ./identity -run TestPage -update", pageFile)
	}
	if err := os.WriteFile(pageFile, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// page is the whole list in Markdown, a table for each family.
func page() string {
	var out strings.Builder
	all := identity.All()
	off := 0
	for _, m := range all {
		if !m.Default {
			off++
		}
	}
	fmt.Fprintf(&out, "\n%d marks, of which %d are off by default.\n", len(all), off)
	for _, f := range identity.Families() {
		fmt.Fprintf(&out, "\n### %s\n\n%s\n\n", f.Name, f.About)
		out.WriteString("| mark | kind | default | where | why twins must not share it | made anew by |\n|---|---|---|---|---|---|\n")
		for _, m := range f.Marks {
			on := "on"
			if !m.Default {
				on = "off"
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s: %s (%s) | %s. %s | %s |\n", m.Name, m.Kind, on, cell(m.Where), paths(m.Paths), m.Will(),
				cell(m.Why), links(m.Source), cell(m.Regenerates))
		}
	}
	return out.String() + "\n"
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s) }

func paths(patterns []string) string {
	var all []string
	for _, p := range patterns {
		if !strings.HasPrefix(p, "~") {
			p = "/" + p
		}
		all = append(all, "`"+p+"`")
	}
	return strings.Join(all, " ")
}

var manual = regexp.MustCompile(`^man ([1-8]) (\S+)(.*)$`)
var rfc = regexp.MustCompile(`^RFC ([0-9]+)(?: section (\S+))?$`)
var address = regexp.MustCompile(`^https://([^/\s]+)(?:/\S*)?`)

// links turns a source into links: a manual page to Debian's copy of it.
func links(source string) string {
	var all []string
	for part := range strings.SplitSeq(source, "; ") {
		switch {
		case manual.MatchString(part):
			m := manual.FindStringSubmatch(part)
			part = fmt.Sprintf("[%s(%s)](https://manpages.debian.org/%s.%s)%s", m[2], m[1], m[2], m[1], m[3])
		case rfc.MatchString(part):
			m := rfc.FindStringSubmatch(part)
			part = fmt.Sprintf("[%s](https://www.rfc-editor.org/rfc/rfc%s)", part, m[1])
		default:
			m := address.FindStringSubmatch(part)
			part = fmt.Sprintf("[%s](%s)%s", m[1], m[0], part[len(m[0]):])
		}
		all = append(all, part)
	}
	return strings.Join(all, ", ")
}

// sysprepOperations are those of virt-sysprep 1.57, as its --list-operations has
// them. 1.48 has no lvm-system-devices and no zsh-history.
const sysprepOperations = `abrt-data backup-files bash-history blkid-tab ca-certificates crash-data cron-spool customize dhcp-client-state
dhcp-server-state dovecot-data firewall-rules flag-reconfiguration fs-uuids ipa-client kerberos-data kerberos-hostkeytab logfiles
lvm-system-devices lvm-uuids machine-id mail-spool net-hostname net-hwaddr net-nmconn pacct-log package-manager-cache pam-data passwd-backups
puppet-data-log rh-subscription-manager rhn-systemid rpm-db samba-db-log script smolt-uuid ssh-hostkeys ssh-userdir sssd-db-log tmp-files
udev-persistent-net user-account utmp yum-uuid zsh-history`

var (
	sysprepRow = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| (.*) \\| (.*) \\|$")
	codeSpan   = regexp.MustCompile("`([a-z0-9-]+)`")
)

// The page has an answer to each operation of virt-sysprep: marks that exist, or
// why there is none.
func TestSysprepTable(t *testing.T) {
	data, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	_, part, ok := strings.Cut(string(data), "## Beside virt-sysprep\n")
	part, _, ok2 := strings.Cut(part, "\n## ")
	if !ok || !ok2 {
		t.Fatal("no table of virt-sysprep's operations on the page")
	}
	var operations []string
	for _, row := range sysprepRow.FindAllStringSubmatch(part, -1) {
		operations = append(operations, row[1])
		marks := codeSpan.FindAllStringSubmatch(row[2], -1)
		if len(marks) == 0 && (row[2] != "none" || len(row[3]) < 20) {
			t.Errorf("%s: no mark, and no reason: %q", row[1], row[3])
		}
		for _, m := range marks {
			if _, ok := identity.Find(m[1]); !ok {
				t.Errorf("%s: there is no mark %s", row[1], m[1])
			}
		}
	}
	if want := strings.Fields(sysprepOperations); !slices.Equal(operations, want) {
		t.Errorf("the table has %d operations, want %d:\n%q\n%q", len(operations), len(want), operations, want)
	}
}
