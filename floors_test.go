package clade_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/clade-vm/clade"

// floors is the plan of the house: each package and the packages of this module
// it may import besides the root. The table is policy: change it with the
// design, never to fix a build. A face never imports core; adapters do not know
// each other; craft starts no process and opens no network.
var floors = map[string]string{
	".": "", // the words

	// craft
	"undo":                      "",
	"lineage":                   "",
	"qcow2":                     "",
	"bundle":                    "qcow2",
	"foreign":                   "qcow2",
	"qmp":                       "",
	"qmp/qga":                   "qmp",
	"recipe":                    "",
	"pool":                      "",
	"rootfs":                    "",
	"identity":                  "rootfs",
	"identity/identitytest":     "rootfs", // plants, for tests
	"generalize":                "rootfs identity",
	"merge":                     "rootfs",
	"audit":                     "rootfs identity",
	"live":                      "rootfs identity generalize",
	"hypervisor":                "",
	"hypervisor/hold":           "",
	"hypervisor/hypervisortest": "hypervisor",
	"hypervisor/fake":           "hypervisor hypervisor/hold",

	// adapters: one outside thing each
	"store":           "",
	"image":           "qcow2",
	"vswitch":         "",
	"cloudinit":       "",
	"oci":             "bundle",
	"debian":          "recipe",
	"qemu":            "hypervisor hypervisor/hold qmp qmp/qga",
	"appliance":       "appliance/guest generalize identity",
	"appliance/guest": "generalize identity merge rootfs",

	// core
	"host": "undo pool hypervisor/hold lineage qcow2 recipe identity generalize audit live bundle foreign oci hypervisor store image vswitch cloudinit appliance",

	// faces
	"cli":      "pool lineage lab identity generalize",
	"lab":      "lineage",
	"lab/fake": "pool lineage identity generalize audit", // a home in memory, for the tests of the faces

	// main
	"cmd/clade": "host cli qemu appliance appliance/guest generalize identity debian recipe",
}

// processes may start other programs; all others may not import os/exec.
var processes = []string{"image", "debian", "qemu", "appliance", "appliance/guest", "host", "cli", "hypervisor/fake", "hypervisor/hold", "hypervisor/hypervisortest", "cmd/clade"}

// sockets may open network connections.
var sockets = []string{".", "oci", "vswitch", "qmp", "qmp/qga", "qemu", "appliance", "appliance/guest", "image", "host", "hypervisor/fake", "cli", "lab", "lab/fake"}

func TestFloors(t *testing.T) {
	seen := make(map[string]bool)
	eachFile(t, func(dir, file string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		allowed, planned := floors[dir]
		if !planned {
			if !seen[dir] {
				t.Errorf("package %s is not on the plan: say in floors what it may import", dir)
			}
			seen[dir] = true
			return
		}
		seen[dir] = true
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			checkImport(t, dir, file, imported, strings.Fields(allowed))
		}
	})
	for dir := range floors {
		if !seen[dir] {
			t.Errorf("package %s is on the plan but not there", dir)
		}
	}
}

func checkImport(t *testing.T, dir, file, imported string, allowed []string) {
	t.Helper()
	inside, isOurs := strings.CutPrefix(imported, module)
	switch {
	case isOurs && inside != "" && !slices.Contains(allowed, strings.TrimPrefix(inside, "/")):
		t.Errorf("%s/%s imports %s: not on its floor's plan", dir, file, imported)
	case dir == "." && strings.Contains(strings.Split(imported, "/")[0], "."):
		t.Errorf("%s imports %s: the root knows the standard library only", file, imported)
	case imported == "os/exec" && !slices.Contains(processes, dir):
		t.Errorf("%s/%s imports os/exec: this floor starts no process", dir, file)
	case imported == "net" && !slices.Contains(sockets, dir) && !slices.Contains([]string{"cloudinit", "identity"}, dir):
		t.Errorf("%s/%s imports net: this floor opens no network", dir, file)
	}
}

// TestPackageComments wants one package comment each, on the file of the
// package's name, beginning with the package's name.
func TestPackageComments(t *testing.T) {
	comments := make(map[string][]string)
	eachFile(t, func(dir, file string) {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc == nil || strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(dir, "bench") {
			return
		}
		text := parsed.Doc.Text()
		begin := "Package " + parsed.Name.Name + " "
		if parsed.Name.Name == "main" {
			begin = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(text, begin) {
			t.Errorf("%s/%s: the package comment begins %.30q, want %q", dir, file, text, begin)
		}
		comments[dir] = append(comments[dir], file)
	})
	for dir := range floors {
		if len(comments[dir]) != 1 {
			t.Errorf("%s: package comments in %v, want exactly one", dir, comments[dir])
			continue
		}
		want := path.Base(dir) + ".go"
		switch {
		case dir == ".":
			want = "clade.go"
		case strings.HasPrefix(dir, "cmd/"):
			want = "main.go"
		}
		if comments[dir][0] != want {
			t.Errorf("%s: the package comment is in %s, want %s", dir, comments[dir][0], want)
		}
	}
}

// eachFile calls do for each Go file of the module, by directory.
func eachFile(t *testing.T, do func(dir, file string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && (base == "testdata" || base == "bench" || base != "." && strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		if strings.HasSuffix(base, ".go") {
			do(filepath.ToSlash(filepath.Dir(name)), base)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
