package pool_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
)

func TestRoster(t *testing.T) {
	for text, want := range map[string][]string{
		"anna\nben\n": {"anna", "ben"},
		"\ufeffname;class\r\nAnna Ö.;3b\r\n\r\n\"Ben; jr.\";3b": {"Anna Ö.", "Ben; jr."},
		"id,email,Name\n1,a@x,Anna\n2,b@x,Ben\n":                {"Anna", "Ben"},
		"class\tlogin\n3b\tanna":                                {"anna"},
	} {
		if got, err := pool.Roster([]byte(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("Roster(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "\n\n", "name\n", "a\na\n", "name,x\n,1\n", "a\x1b[31m\n", "\"a", "a\n\xff\xfe\n", strings.Repeat("x", 121)} {
		if got, err := pool.Roster([]byte(text)); clade.KindOf(err) != clade.Invalid {
			t.Errorf("Roster(%q) = %q, %v; want kind %q", text, got, err, clade.Invalid)
		}
	}
}

// Classes that are listed by first name and surname are read from both, and a name that
// two have is told apart by it.
func TestRosterOfColumns(t *testing.T) {
	const class = "\ufeffNachname;Vorname;Klasse\r\nM\u00fcller;Anna;3b\r\n;;\r\n\r\n\"Meier; Jr.\";Ben;3b\r\nM\u00fcller;Carl\r\n;Dora;3b\r\n"
	got, err := pool.Roster([]byte(class), "vorname", "Nachname")
	if want := []string{"Anna M\u00fcller", "Ben Meier; Jr.", "Carl M\u00fcller", "Dora"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Roster = %q, %v; want %q", got, err, want)
	}
	if _, err := pool.Roster([]byte("name\nM\u00fcller\nM\u00fcller\n")); err == nil || !strings.Contains(clade.HintOf(err), "--column") {
		t.Errorf("Roster of a name twice = %v, hint %q", err, clade.HintOf(err))
	}
	for text, want := range map[string]string{
		class:                         "not all of the headings",
		"M\xfcller\n":                 "not written in UTF-8",
		"\xff\xfeM\x00\xfc\x00\n\x00": "not written in UTF-8",
	} {
		if _, err := pool.Roster([]byte(text), "Rufname"); clade.KindOf(err) != clade.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("Roster(%q) = %v, want %q", text, err, want)
		}
	}
}

// A large school is no trouble.
func TestLongRoster(t *testing.T) {
	var b strings.Builder
	b.WriteString("id,name\n")
	for i := range 10001 {
		fmt.Fprintf(&b, "%d,\"Pupil, the %dth\"\n", i, i)
		if i == 9999 {
			if got, err := pool.Roster([]byte(b.String())); err != nil || len(got) != 10000 || got[9999] != "Pupil, the 9999th" {
				t.Errorf("Roster of 10000 = %d, %v", len(got), err)
			}
		}
	}
	if _, err := pool.Roster([]byte(b.String())); clade.KindOf(err) != clade.Invalid {
		t.Errorf("Roster of 10001 = %v", err)
	}
}

func FuzzRoster(f *testing.F) {
	f.Add([]byte("name;class\nanna;3b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		persons, err := pool.Roster(data)
		for _, p := range persons {
			if bad := pool.CheckPerson(p); bad != nil {
				t.Errorf("Roster(%q) names %q: %v", data, p, bad)
			}
		}
		if (err == nil) == (len(persons) == 0) {
			t.Errorf("Roster(%q) = %q, %v", data, persons, err)
		}
	})
}
