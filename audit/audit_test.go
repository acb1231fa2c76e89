package audit_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/clade-vm/clade/audit"
	"github.com/clade-vm/clade/identity"
)

func TestCompare(t *testing.T) {
	f := func(mark, value string) identity.Finding { return identity.Finding{Mark: mark, Value: value} }
	got := audit.Compare(map[string][]identity.Finding{
		"web-1": {f("machine-id", "a"), f("ssh-host-keys", "k1"), f("ssh-host-keys", "k1"), f("mac", "m"), f("tmp", "")},
		"web-2": {f("machine-id", "a"), f("ssh-host-keys", "k1"), f("mac", "m"), f("tmp", ""), f("hostname", "h")},
		"web-3": {f("machine-id", "a"), f("ssh-host-keys", "k1"), f("hostname", "h")},
		"web-4": {f("machine-id", "b"), f("ssh-host-keys", "k2"), f("hostname", "k2")},
	})
	var lines []string
	for _, s := range got {
		lines = append(lines, fmt.Sprint(s.Kind, " ", s.Mark, "=", s.Value, " ", strings.Join(s.Machines, ","), ": ", s.Mend))
		if s.Why == "" {
			t.Errorf("no reason for %+v", s)
		}
	}
	want := []string{
		"conflict machine-id=a web-1,web-2,web-3: clade mend web-2 web-3",
		"conflict hostname=h web-2,web-3: clade mend web-3",
		"conflict mac=m web-1,web-2: clade mend web-2",
		"secret ssh-host-keys=k1 web-1,web-2,web-3: clade mend web-2 web-3",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestDivide(t *testing.T) {
	compared, residue := audit.Divide([]identity.Finding{{Mark: "histories"}, {Mark: "machine-id", Value: "a"}, {Mark: "mac", Value: "m"}, {Mark: "histories"}, {Mark: "tmp"}})
	if len(compared) != 2 || compared[0].Mark != "machine-id" || compared[1].Mark != "mac" || strings.Join(residue, " ") != "histories tmp" {
		t.Errorf("compared %+v, residue %q", compared, residue)
	}
}

func TestCompareOfNothing(t *testing.T) {
	text, err := json.Marshal(audit.Compare(map[string][]identity.Finding{"only": {{Mark: "machine-id", Value: "a"}}}))
	if string(text) != "[]" || err != nil {
		t.Errorf("%s, %v, want []", text, err)
	}
}

// Twins of which all marks are read share what must differ, and nothing that may
// be the same.
func TestCompareTwins(t *testing.T) {
	guest := func(machineID string) fstest.MapFS {
		return fstest.MapFS{
			"etc/machine-id":              {Data: []byte(machineID)},
			"var/lib/systemd/random-seed": {Data: []byte("the same seed")},
			"etc/hostname":                {Data: []byte("localhost\n")},
			"root/.bash_history":          {Data: []byte("ls\n")},
		}
	}
	machines := map[string][]identity.Finding{}
	for name, fsys := range map[string]fstest.MapFS{
		"a": guest("0123456789abcdef0123456789abcdef"), "b": guest("0123456789abcdef0123456789abcdef"), "c": guest("fedcba9876543210fedcba9876543210"),
	} {
		for _, m := range identity.All() {
			found, err := m.Read(fsys)
			if err != nil {
				t.Fatal(err)
			}
			machines[name] = append(machines[name], found...)
		}
	}
	var got []string
	for _, s := range audit.Compare(machines) {
		got = append(got, s.Mark+" "+strings.Join(s.Machines, ","))
		if strings.Contains(s.Value, "seed") {
			t.Errorf("a secret is shown: %+v", s)
		}
	}
	if strings.Join(got, "; ") != "machine-id a,b; random-seed a,b,c" {
		t.Errorf("twins share %q", got)
	}
}
