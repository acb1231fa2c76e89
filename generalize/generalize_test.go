package generalize_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
	"github.com/clade-vm/clade/rootfs"
)

const id = "0123456789abcdef0123456789abcdef"

// debian is a small Debian guest with the marks of a life; "->" is a link.
var debian = map[string]string{
	"bin":                              "->usr/bin",
	"usr/lib/systemd/systemd":          "x",
	"usr/sbin/sshd":                    "x",
	"usr/bin/ssh-keygen":               "x",
	"etc/machine-id":                   id + "\n",
	"var/lib/dbus/machine-id":          "->/etc/machine-id",
	"etc/hostname":                     "golden\n",
	"etc/hosts":                        "127.0.0.1 localhost\n127.0.1.1 golden\n192.0.2.7 golden.example.com golden\n",
	"etc/ssh/ssh_host_rsa_key":         "SECRET",
	"var/lib/systemd/random-seed":      "SECRET",
	"var/log/syslog":                   "SECRET",
	"var/log/journal/" + id + "/a":     "SECRET",
	"root/.bash_history":               "SECRET",
	"root/.ssh/authorized_keys":        "kept",
	"var/lib/cloud/data/instance-id":   "i-golden\n",
	"var/lib/apt/lists/x_dists_stable": "kept",
}

func grow(t *testing.T, files map[string]string) (string, *rootfs.Tree) {
	t.Helper()
	dir := t.TempDir()
	for name, what := range files {
		at := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if target, ok := strings.CutPrefix(what, "->"); ok {
			err = errors.Join(err, os.Symlink(target, at))
		} else {
			err = errors.Join(err, os.WriteFile(at, []byte(what), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return dir, tree
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

func defaults(t *testing.T) []identity.Mark {
	t.Helper()
	marks, err := generalize.Select(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return marks
}

// content is every name and content below dir.
func content(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		all.WriteString(at + "\n")
		if err == nil && d.Type().IsRegular() {
			all.WriteString(read(t, "/", at))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestGeneralize(t *testing.T) {
	dir, tree := grow(t, debian)
	before := content(t, dir)
	r, err := generalize.Plan(tree, defaults(t))
	if err != nil {
		t.Fatal(err)
	}
	if content(t, dir) != before {
		t.Error("Plan changed the tree")
	}
	var found []string
	for _, s := range r.Marks {
		if len(s.Findings) > 0 {
			found = append(found, s.Mark)
		}
	}
	slices.Sort(found)
	want := "cloud-init-instance cloud-init-state histories hostname hosts journal logs machine-id random-seed ssh-host-keys"
	if got := strings.Join(found, " "); got != want {
		t.Errorf("the plan found %s, want %s", got, want)
	}
	if !slices.Equal(r.Writes, []string{identity.FirstbootUnit}) {
		t.Errorf("the plan writes %q", r.Writes)
	}
	if err := generalize.Verify(tree, r); !errors.Is(err, clade.Unproven) || r.Verified || len(r.Left) == 0 {
		t.Errorf("Verify before Erase: %v, verified %v, %d left", err, r.Verified, len(r.Left))
	}
	if err := generalize.Erase(tree, r); err != nil {
		t.Fatal(err)
	}
	if r.Verified || len(r.Left) != 0 {
		t.Errorf("Erase left verified %v, %d left", r.Verified, len(r.Left))
	}
	if err := generalize.Verify(tree, r); err != nil || !r.Verified {
		t.Fatalf("Verify: %v, %v", err, r.Verified)
	}
	for name, want := range map[string]string{
		"etc/machine-id": "", "etc/hostname": "localhost\n", "etc/hosts": "127.0.0.1 localhost\n", "root/.ssh/authorized_keys": "kept",
		"var/lib/apt/lists/x_dists_stable": "kept",
	} {
		if got := read(t, dir, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if after := content(t, dir); strings.Contains(after, "SECRET") || strings.Contains(after, id) || strings.Contains(after, "golden") {
		t.Errorf("something is left: %s", after)
	}
	if !strings.Contains(read(t, dir, identity.FirstbootUnit), "ssh-keygen -A") {
		t.Error("no first-boot unit")
	}
	checkAttestation(t, r)
}

// checkAttestation: the report survives JSON, says what was done, and tells no
// secret.
func checkAttestation(t *testing.T, r *generalize.Report) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil || strings.Contains(string(text), "SECRET") {
		t.Errorf("%v: %s", err, text)
	}
	var back generalize.Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !back.Verified || back.Tool != "clade "+clade.Version || time.Since(back.Time) > time.Hour || len(back.Marks) != len(r.Marks) {
		t.Errorf("%+v", back)
	}
	for _, s := range back.Marks {
		if !s.Erased || s.Will == "" || s.Kind == "" {
			t.Errorf("%+v", s)
		}
		if s.Mark == "logs" && (s.Files != 1 || s.Size != 6) {
			t.Errorf("logs: %d files of %d bytes, want 1 of 6", s.Files, s.Size)
		}
	}
}

// The order is that of the list, whatever order the marks are given in.
func TestOrder(t *testing.T) {
	dir, tree := grow(t, debian)
	marks := defaults(t)
	slices.Reverse(marks)
	r, err := generalize.Plan(tree, marks)
	if err != nil {
		t.Fatal(err)
	}
	if last := r.Marks[len(r.Marks)-1]; last.Mark != "machine-id" {
		t.Errorf("the last step is %s", last.Mark)
	}
	if err := generalize.Erase(tree, r); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "etc/hosts"); strings.Contains(got, "golden") {
		t.Errorf("hosts was erased after the hostname it is read by: %q", got)
	}
}

// The machine-id is not touched before all else is in place: where the first-boot
// unit cannot be written, it is still there.
func TestMachineIDIsTheLastWrite(t *testing.T) {
	dir, tree := grow(t, debian)
	r, err := generalize.Plan(tree, defaults(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/systemd"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := generalize.Erase(tree, r); !errors.Is(err, clade.Unproven) {
		t.Errorf("Erase: %v, want unproven", err)
	}
	if got := read(t, dir, "etc/machine-id"); got != id+"\n" {
		t.Errorf("machine-id is %q, want the old one", got)
	}
}

// Whatever is put back after erasing is named.
func TestVerifyFailsClosed(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"machine-id is still in /etc/machine-id": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "etc/machine-id"), []byte(id), 0o644)
		},
		"machine-id is still in /etc/machine-id (missing": func(dir string) error { return os.Remove(filepath.Join(dir, "etc/machine-id")) },
		"ssh-host-keys is still in /etc/ssh/ssh_host_x": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "etc/ssh/ssh_host_x"), nil, 0o644)
		},
		identity.FirstbootUnit: func(dir string) error { return os.Remove(filepath.Join(dir, identity.FirstbootUnit)) },
		"verify the marks: hostname is still in /etc/hostname, and 1 more are left": func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("a"), 0o644), os.WriteFile(filepath.Join(dir, "etc/hostid"), []byte("a"), 0o644))
		},
	} {
		dir, tree := grow(t, debian)
		r, err := generalize.Plan(tree, defaults(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(generalize.Erase(tree, r), generalize.Verify(tree, r), change(dir)); err != nil {
			t.Fatal(err)
		}
		err = generalize.Verify(tree, r)
		if !errors.Is(err, clade.Unproven) || r.Verified || !strings.Contains(err.Error(), name) {
			t.Errorf("Verify: %v, verified %v, want %q", err, r.Verified, name)
		}
	}
}

// A mark that another one hides is erased all the same: what the installer of the
// system left switches cloud-init off, and with it what cloud-init wrote.
func TestHiddenMarks(t *testing.T) {
	dir, tree := grow(t, nil)
	if err := identitytest.Grow(dir, identitytest.Together()); err != nil {
		t.Fatal(err)
	}
	r, err := generalize.Plan(tree, identity.All())
	if err != nil {
		t.Fatal(err)
	}
	const hidden = "cloud-init-network"
	at := slices.IndexFunc(r.Marks, func(s generalize.Step) bool { return s.Mark == hidden })
	for i, s := range r.Marks {
		if len(s.Findings) == 0 && i != at {
			t.Errorf("the plan has not found %s", s.Mark)
		}
	}
	if len(r.Marks[at].Findings) != 0 {
		t.Fatalf("%s is not hidden: %v", hidden, r.Marks[at].Findings)
	}
	if err := errors.Join(generalize.Erase(tree, r), generalize.Verify(tree, r)); err != nil {
		t.Fatal(err)
	}
	if len(r.Marks[at].Findings) == 0 {
		t.Errorf("the report does not say that %s was erased", hidden)
	}
	if err := identitytest.Check(dir, identitytest.Together()); err != nil {
		t.Error(err)
	}
}

// What cannot be read is not taken for absent: by Plan, Erase and Verify.
func TestUnreadableIsNotAbsent(t *testing.T) {
	_, tree := grow(t, map[string]string{"etc/passwd": strings.Repeat("x\n", 1<<20)})
	if _, err := generalize.Plan(tree, defaults(t)); !errors.Is(err, clade.Unproven) {
		t.Errorf("Plan: %v, want unproven", err)
	}
	r := &generalize.Report{Marks: []generalize.Step{{Mark: "histories", Findings: []identity.Finding{{Mark: "histories"}}}}}
	if err := generalize.Erase(tree, r); !errors.Is(err, clade.Unproven) || r.Marks[0].Erased {
		t.Errorf("Erase: %v, want unproven", err)
	}
	if err := generalize.Verify(tree, r); !errors.Is(err, clade.Unproven) || r.Verified {
		t.Errorf("Verify: %v, want unproven", err)
	}
}

func TestReportOfNothingIsNoProof(t *testing.T) {
	_, tree := grow(t, debian)
	for _, r := range []*generalize.Report{{}, {Marks: []generalize.Step{{Mark: "no-such"}}}} {
		r.Verified = true
		if err := generalize.Verify(tree, r); !errors.Is(err, clade.Invalid) || r.Verified {
			t.Errorf("Verify of %+v: %v", r, err)
		}
		if err := generalize.Erase(tree, r); !errors.Is(err, clade.Invalid) {
			t.Errorf("Erase of %+v: %v", r, err)
		}
	}
}

func TestDisabledMarksStay(t *testing.T) {
	dir, tree := grow(t, debian)
	marks, err := generalize.Select([]string{"ssh-authorized-keys"}, []string{"ssh-host-keys", "machine-id"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := generalize.Plan(tree, marks)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(generalize.Erase(tree, r), generalize.Verify(tree, r)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "etc/machine-id") + read(t, dir, "etc/ssh/ssh_host_rsa_key") + read(t, dir, identity.FirstbootUnit); got != id+"\nSECRET" {
		t.Errorf("disabled marks: %q", got)
	}
	if got := read(t, dir, "root/.ssh/authorized_keys"); got != "" {
		t.Errorf("the enabled mark: %q", got)
	}
}

func TestSelect(t *testing.T) {
	all := identity.All()
	on := defaults(t)
	if len(on) == 0 || len(on) >= len(all) {
		t.Fatalf("%d of %d marks by default", len(on), len(all))
	}
	for _, m := range on {
		if !m.Default {
			t.Errorf("%s is selected and off by default", m.Name)
		}
	}
	for _, test := range []struct {
		enable, disable []string
		hint            string
	}{
		{[]string{"machineid"}, nil, "did you mean machine-id?"},
		{nil, []string{"Hostnam"}, " or hostname or "},
		{nil, []string{"authorized-keys"}, "did you mean ssh-authorized-keys?"},
		{[]string{"quite something else"}, nil, "docs/marks.md"},
		{[]string{""}, nil, "docs/marks.md"},
		{[]string{"tmp"}, []string{"tmp"}, "one of the two"},
	} {
		_, err := generalize.Select(test.enable, test.disable)
		if !errors.Is(err, clade.Invalid) || !strings.Contains(clade.HintOf(err), test.hint) {
			t.Errorf("Select(%q, %q): %v, hint %q, want %q", test.enable, test.disable, err, clade.HintOf(err), test.hint)
		}
	}
}
