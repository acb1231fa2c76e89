package recipe

import (
	"errors"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

func TestBuiltin(t *testing.T) {
	suites := map[string]string{"debian-12": "bookworm", "debian-13": "trixie"}
	if len(Names()) != len(suites) {
		t.Errorf("Names() = %v", Names())
	}
	for name, suite := range suites {
		r, err := Builtin(name)
		if err != nil {
			t.Errorf("Builtin(%s): %v", name, err)
			continue
		}
		if string(r.Name) != name || r.Suite != suite || r.Mirror != "" || !r.Boots(BIOS) || !r.Boots(UEFI) {
			t.Errorf("Builtin(%s) = %+v", name, r)
		}
	}
	for _, name := range []string{"", "debian-11", "../recipe", "debian-12.yaml"} {
		if _, err := Builtin(name); !errors.Is(err, clade.NotFound) {
			t.Errorf("Builtin(%q) error = %v, want %v", name, err, clade.NotFound)
		}
	}
}

func TestParseFillsDefaults(t *testing.T) {
	r, err := Parse([]byte("name: web\nsuite: trixie\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Size != 10*clade.GiB || r.User != "debian" || r.Kernel != "linux-image-cloud-amd64" || len(r.Boot) != 2 {
		t.Errorf("Parse = %+v", r)
	}
	r, err = Parse([]byte("name: web\nsuite: trixie\nsize: 4.5G\nboot: [uefi]\nmirror: http://10.0.2.2:3142/debian\nrun:\n  - |\n    echo a\n    echo b\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Size != 9*clade.GiB/2 || r.Boots(BIOS) || !r.Boots(UEFI) || len(r.Run) != 1 || r.Run[0] != "echo a\necho b\n" {
		t.Errorf("Parse = %+v", r)
	}
}

func TestParseRefuses(t *testing.T) {
	good := "name: web\nsuite: trixie\n"
	tests := []struct{ about, text, want string }{
		{"empty", "", "name"},
		{"unknown field", good + "sizes: 4G\n", "line 3"},
		{"twice", good + "suite: bookworm\n", "line 3"},
		{"not YAML", good + "packages: [a\n", "line 3"},
		{"wrong type", good + "packages: 7\n", "line 3"},
		{"name", "suite: trixie\nname: ../x\n", "line 2: name"},
		{"suite", "name: web\nsuite: sid\n", "line 2: suite"},
		{"small", good + "size: 1G\n", "line 3: size"},
		{"unit", good + "size: 1X\n", "line 3"},
		{"huge", good + "size: 17T\n", "line 3: size"},
		{"root", good + "user: root\n", "line 3: user"},
		{"user", good + "user: a b\n", "line 3: user"},
		{"kernel", good + "kernel: vim\n", "line 3: kernel"},
		{"boot", good + "boot: [floppy]\n", "line 3: boot"},
		{"boot twice", good + "boot: [bios, bios]\n", "line 3: boot"},
		{"option as package", good + "packages: [vim, --foo]\n", "line 3: packages"},
		{"pattern as package", good + "packages: ['?essential']\n", "line 3: packages"},
		{"comma in package", good + "packages: ['a,b']\n", "line 3: packages"},
		{"mirror option", good + "mirror: '[trusted=yes] http://x/'\n", "line 3: mirror"},
		{"mirror lines", good + "mirror: \"http://x/\\ndeb\"\n", "line 3: mirror"},
		{"mirror scheme", good + "mirror: ftp://x/\n", "line 3: mirror"},
		{"mirror secret", good + "mirror: http://u:p@x/\n", "line 3: mirror"},
		{"empty command", good + "run: [' ']\n", "line 3: run"},
		{"large", good + "#" + strings.Repeat("x", maxText), "larger"},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.text))
		if !errors.Is(err, clade.Invalid) {
			t.Errorf("%s: error = %v, want %v", tt.about, err, clade.Invalid)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error = %q, want one line with %q", tt.about, err, tt.want)
		}
	}
}

func TestDigest(t *testing.T) {
	digest := func(text string) string {
		t.Helper()
		r, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r.Digest()
	}
	base := digest("name: web\nsuite: trixie\npackages: [vim, git]\n")
	if len(base) != 64 {
		t.Errorf("Digest = %q, want 64 digits", base)
	}
	for _, same := range []string{
		"# a comment\nsuite: trixie\nname: web\npackages: [git, vim]\n",
		"name: web\nsuite: trixie\nsize: 10G\nuser: debian\nboot: [uefi, bios]\npackages: [git, vim, git]\n",
	} {
		if digest(same) != base {
			t.Errorf("Digest differs for\n%s", same)
		}
	}
	for _, other := range []string{
		"name: web\nsuite: bookworm\npackages: [vim, git]\n",
		"name: web\nsuite: trixie\npackages: [vim]\n",
		"name: web\nsuite: trixie\nsize: 11G\npackages: [vim, git]\n",
		"name: web\nsuite: trixie\npackages: [vim, git]\nrun: [\"true\"]\n",
	} {
		if digest(other) == base {
			t.Errorf("Digest is the same for\n%s", other)
		}
	}
}

func TestValidate(t *testing.T) {
	r, err := Builtin("debian-12")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Errorf("Validate = %v", err)
	}
	r.Size = clade.MiB
	if err := r.Validate(); !errors.Is(err, clade.Invalid) {
		t.Errorf("Validate of a 1 MiB disk = %v, want %v", err, clade.Invalid)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: web\nsuite: trixie\nsize: 4G\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if err != nil {
			if !errors.Is(err, clade.Invalid) {
				t.Errorf("Parse error = %v, want kind %v", err, clade.Invalid)
			}
			return
		}
		if err := r.Validate(); err != nil {
			t.Errorf("Parse accepted what Validate refuses: %v", err)
		}
	})
}
