package identity_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
)

// within fails if fn takes longer than a hostile guest may hold us up.
func within(t *testing.T, limit time.Duration, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("still not done after %v", limit)
	}
}

// A tree in which every path of every mark is something else than it should be:
// nothing hangs, nothing of the host is read, shown or changed.
func TestHostileTrees(t *testing.T) {
	host := t.TempDir()
	grow(t, host, map[string]string{"victim": "OUTSIDE", "dir/victim": "OUTSIDE"})
	up := "->" + strings.Repeat("../", 20) + strings.TrimPrefix(host, "/")
	for name, what := range map[string]string{
		"links to host files": "->" + host + "/victim",
		"links up to files":   up + "/victim",
		"links to host dirs":  "->" + host + "/dir",
		"links up to dirs":    up + "/dir",
		"loops":               "->/loop",
		"pipes":               "|",
		"directories":         "/",
		"the root":            "->/srv",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"loop": "->/loop", systemd: "x", "usr/bin/cloud-init": "x", "srv/x": "x"}
			for _, p := range identitytest.Plants() {
				for at := range p.Files {
					if !strings.HasPrefix(at, "usr/") && !strings.HasPrefix(at, "lib") && !strings.HasPrefix(at, "srv") {
						files[strings.TrimSuffix(at, "/")] = what
					}
				}
			}
			for at := range files { // nothing lies below what is no directory
				for other := range files {
					if strings.HasPrefix(other, at+"/") {
						delete(files, other)
					}
				}
			}
			grow(t, dir, files)
			tree := openTree(t, dir)
			within(t, time.Minute, func() {
				if _, err := identity.Read(tree); err != nil {
					t.Errorf("Read: %v", err)
				}
				for _, m := range identity.All() {
					found, err := m.Read(tree)
					if err != nil {
						t.Errorf("%s: %v", m.Name, err)
					}
					if strings.Contains(fmt.Sprint(found), "OUTSIDE") {
						t.Errorf("%s shows the host's: %+v", m.Name, found)
					}
				}
				for _, m := range identity.All() {
					if err := m.Erase(tree); err != nil {
						t.Errorf("%s: %v", m.Name, err)
					}
				}
				for _, m := range identity.All() {
					if found, err := m.Read(tree); len(found) != 0 || err != nil {
						t.Errorf("%s after erasing: %+v, %v", m.Name, found, err)
					}
				}
			})
			if got := read(t, host, "victim") + read(t, host, "dir/victim"); got != "OUTSIDEOUTSIDE" {
				t.Errorf("the host's files are now %q", got)
			}
		})
	}
}

func TestHugeFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"etc/machine-id", "etc/hostname", "var/lib/systemd/random-seed", "var/log/syslog", "etc/ssh/ssh_host_rsa_key", "var/log/wtmp"} {
		grow(t, dir, map[string]string{name: "x"})
		if err := os.Truncate(filepath.Join(dir, name), 4<<30); err != nil {
			t.Fatal(err)
		}
	}
	tree := openTree(t, dir)
	within(t, time.Minute, func() {
		for _, m := range identity.All() {
			if _, err := m.Read(tree); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
			if err := m.Erase(tree); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
			if found, err := m.Read(tree); len(found) != 0 || err != nil {
				t.Errorf("%s after erasing: %+v, %v", m.Name, found, err)
			}
		}
	})
	if got := read(t, dir, "etc/machine-id") + read(t, dir, "etc/hostname"); got != "localhost\n" {
		t.Errorf("machine-id and hostname: %q", got)
	}
}

// A text file that is too large to be edited is found, and stays found.
func TestHugeTextIsNotSilent(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{"etc/hosts": strings.Repeat("# line\n", 200_000)})
	tree := openTree(t, dir)
	m := find(t, "hosts")
	if found, err := m.Read(tree); len(found) != 1 || err != nil {
		t.Errorf("found %+v, %v, want one finding", found, err)
	}
	if err := m.Erase(tree); !errors.Is(err, clade.Unproven) {
		t.Errorf("Erase: %v, want unproven", err)
	}
	many := t.TempDir()
	grow(t, many, map[string]string{"etc/passwd": strings.Repeat("u:x:1:1::/h/u:/bin/sh\n", 100_000)})
	if _, err := find(t, "histories").Read(openTree(t, many)); !errors.Is(err, clade.Unproven) {
		t.Errorf("a passwd of 2 MB: %v, want unproven", err)
	}
	homes := t.TempDir()
	var passwd strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&passwd, "u:x:1:1::/h/%d:/bin/sh\n", i)
	}
	grow(t, homes, map[string]string{"etc/passwd": passwd.String()})
	if _, err := find(t, "histories").Read(openTree(t, homes)); !errors.Is(err, clade.Unproven) {
		t.Errorf("5,000 homes: %v, want unproven", err)
	}
}

func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, map[string]string{"tmp/x": "x", "etc/ssh": "/"})
	for i := range 10_500 {
		for _, name := range []string{"tmp/%d", "etc/ssh/ssh_host_%d"} {
			if err := os.Link(filepath.Join(dir, "tmp/x"), filepath.Join(dir, fmt.Sprintf(name, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	tree := openTree(t, dir)
	for _, name := range []string{"ssh-host-keys", "tmp"} {
		m := find(t, name)
		found, err := m.Read(tree)
		if len(found) == 0 || len(found) > 300 || err != nil {
			t.Errorf("%s: %d findings, %v", name, len(found), err)
		}
		if last := found[len(found)-1]; last.Note == "" {
			t.Errorf("%s does not say that there is more: %+v", name, last)
		}
		if err := m.Erase(tree); err != nil {
			t.Error(err)
		}
		if found, err := m.Read(tree); len(found) != 0 || err != nil {
			t.Errorf("%s after erasing: %d findings, %v", name, len(found), err)
		}
	}
}
