package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lab/fake"
)

// TestBadInput: each is one line that says what, on what and why, and a hint.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	private := filepath.Join(dir, "key")
	for file, content := range map[string]string{text: "not an image", private: "-----BEGIN OPENSSH PRIVATE KEY-----\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		line   string
		status int
		want   string
	}{
		// names
		{"clone debian-12 Web_1", 2, `read name "Web_1": not a valid name`},
		{"clone debian-12 -web", 2, "unknown shorthand flag"},
		{"clone debian-12 -- -web", 2, `read name "-web": not a valid name`},
		{"clone debian-12 " + strings.Repeat("a", 64), 2, "not a valid name"},
		{"clone debian-12 -n 3 --name web", 2, "it has no {n}"},
		{"clone debian-12 -n 0", 2, "0 clones asked for"},
		{"clone debian-12 -n 3 web", 2, "give either names, or -n and --name"},
		{"clone debian-12", 2, "no name given"},
		{"create web-1 --template debian-12:../x", 2, "not a valid version"},
		{"clone debian-12 web-1 --hostname a.b", 2, "not a valid name"},
		// taken
		{"clone debian-12 parent", 1, "create machine parent: the name is taken"},
		{"clone debian-12 a a", 1, "create machine a: the name is taken"},
		{"template create debian-12:1 --from parent", 1, "create template debian-12:1: the version is taken"},
		{"network create default", 1, "create network default: the name is taken"},
		// unknown
		{"clone nothing web-1", 1, "clone nothing: no template and no machine has this name"},
		{"create web-1 --template nothing", 1, "no template and no machine has this name"},
		{"start nothing", 1, "start machine nothing: no machine has this name"},
		{"rm nothing --yes", 1, "no machine has this name"},
		{"template rm nothing --yes", 1, "no template has this name"},
		{"build windows-95", 1, "no recipe has this name"},
		{"clone debian-12 web-1 --network nothing", 1, "no network is called nothing"},
		{"network show nothing", 1, "no network has this name"},
		// twins
		{"clone parent web-1", 1, "it is not generalized: clones would share its identity"},
		{"clone parent web-1 --generalize --accept-twins all", 2, "exclude one another"},
		// images and files
		{"import web-1 " + text, 2, "not a disk image"},
		{"import web-1 " + filepath.Join(dir, "none"), 1, "no such file"},
		{"clone debian-12 web-1 --ssh-key " + private, 2, "it is a private key"},
		{"clone debian-12 web-1 --user-data " + filepath.Join(dir, "none"), 1, "the file cannot be opened"},
		// space
		{"clone debian-12 web-1 --full", 1, "needed, 1.00 MiB free"},
		// states
		{"exec parent -- true", 1, "run a command in machine parent: not running"},
		{"ssh parent", 1, "log in to machine parent: not running"},
		{"wait parent --for ssh", 1, "it is stopped"},
		{"wait parent --for rain", 2, `--for "rain"`},
		{"kill parent", 1, "kill machine parent: not running"},
		// command lines
		{"fly", 2, `there is no verb "fly"`},
		{"strat", 2, "did you mean start"},
		{"template", 2, "a verb is missing"},
		{"template mend", 2, `there is no verb "mend"`},
		{"ls extra", 2, "it takes no arguments"},
		{"start", 2, "too few arguments"},
		{"show a b", 2, "too many arguments"},
		{"clone debian-12 a b --ip 10.90.0.7", 2, "for a single clone"},
		{"clone debian-12 a --full --linked", 2, "exclude one another"},
		{"clone debian-12 a --memory lots", 2, "not a size"},
		{"clone debian-12 a --cpus -1", 2, "at least one"},
		{"create a", 2, "either --template or --disk"},
		{"create a --template t --disk f", 2, "either --template or --disk"},
		{"create a --disk f --firmware coreboot", 2, "it is bios or uefi"},
		{"template create debian-12", 2, "--from MACHINE is missing"},
		{"verify", 2, "either names or --all"},
		{"cp a b", 2, "one side is NAME:PATH"},
		{"cp web-1:/a web-2:/b", 2, "one side is NAME:PATH"},
		{"exec parent", 2, "NAME -- COMMAND"},
		{"dial parent ssh", 2, "is no port"},
		{"rm parent", 2, "there is no terminal to ask on"},
	} {
		t.Run(test.line, func(t *testing.T) {
			home := prepared(t, fake.Knobs{Full: clade.MiB})
			status, out, errs := run(t, home, strings.Fields(test.line)...)
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if out != "" {
				t.Errorf("on standard output: %q", out)
			}
			lines := strings.Split(strings.TrimSpace(errs), "\n")
			for len(lines) > 2 && !strings.HasPrefix(lines[0], "clade: ") {
				lines = lines[1:] // what will go is shown before
			}
			if len(lines) != 2 || !strings.HasPrefix(lines[0], "clade: ") || !strings.Contains(lines[0], test.want) || !strings.HasPrefix(lines[1], "hint: ") {
				t.Errorf("it says\n%s\nwant one line with %q and a hint", errs, test.want)
			}
			all, err := home.Machines(t.Context())
			if err != nil || len(all) != 1 {
				t.Errorf("%d machines afterwards (%v), want the parent alone", len(all), err)
			}
		})
	}
}

// TestEveryErrorIsTold: one for each name, and the others are done.
func TestEveryErrorIsTold(t *testing.T) {
	home := prepared(t, fake.Knobs{})
	status, _, errs := run(t, home, "start", "one", "parent", "two")
	if status != 1 || strings.Count(errs, "clade: start machine") != 2 || strings.Count(errs, "hint: ") != 2 || !strings.Contains(errs, "parent runs") {
		t.Errorf("status %d, it says\n%s", status, errs)
	}
}
