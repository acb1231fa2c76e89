package cli_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lab/fake"
)

var update = flag.Bool("update", false, "write the golden files")

// TestJSONFields freezes the fields of every --json: other programs read them.
func TestJSONFields(t *testing.T) {
	home := prepared(t, fake.Knobs{})
	if status, _, errs := run(t, home, "clone", "debian-12", "web-1", "--start", "--data-disk", "1G"); status != 0 {
		t.Fatal(errs)
	}
	for name, text := range map[clade.Name]string{"r": "mine", "parent": "other"} {
		if name == "r" {
			run(t, home, "clone", "debian-12", "r")
		}
		run(t, home, "start", string(name))
		if _, err := home.Exec(t.Context(), name, clade.Command{Args: []string{"tee", "/etc/both"}, Input: []byte(text)}); err != nil {
			t.Fatal(err)
		}
		run(t, home, "stop", string(name))
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	declared := filepath.Join(t.TempDir(), "pool.yaml")
	if err := os.WriteFile(declared, []byte("name: lab\ntemplate: debian-12:1\nsize: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, line := range []string{"ls", "show web-1", "template ls", "template show debian-12", "tree", "du", "network ls", "network show default",
		"verify --all", "doctor", "version", "clone debian-12 a --dry-run", "clone debian-12 b", "generalize b --dry-run", "mend b", "rm b --yes",
		"generalize --list", "compact web-1", "audit",
		"snapshot create web-1 now --memory", "snapshot ls web-1", "snapshot rm web-1 now",
		"pool create lab --template debian-12:1 --size 2 --ttl 3h --schedule 00:00~size=2;18:00~size=0", "pool reconcile lab", "pool claim lab --for anna",
		"pool claims lab", "pool ls", "pool show lab",
		"exec --pool lab --json -- echo hello", "pool update lab --to debian-12:1", "pool apply -f POOL", "inventory --ansible", "pool rm lab --yes --force",
		"export debian-12 BUNDLE", "import BUNDLE --as other", "import BUNDLE --format ova --name box", "import BUNDLE --format ova --name seen --dry-run",
		"template create debian-12 --from parent", "rebase r --to debian-12 --keep-changes --dry-run", "network create lab", "build debian-12",
		"template rm debian-12:2 --yes"} {
		words := strings.Fields(strings.NewReplacer("BUNDLE", bundle, "POOL", declared).Replace(line))
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "~", " ")
		}
		if words[0] != "exec" && words[0] != "inventory" {
			words = append(words, "--json")
		}
		status, out, errs := run(t, home, words...)
		if status != 0 {
			t.Fatalf("%s: status %d: %s", line, status, errs)
		}
		var v any
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%s: %v in %q", line, err, out)
		}
		fmt.Fprintf(&b, "clade %s\n", line)
		for _, field := range fields("", v) {
			fmt.Fprintf(&b, "  %s\n", field)
		}
	}
	const golden = "testdata/json.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the fields differ from %s; if that is meant, write it with -update.\n%s", golden, b.String())
	}
}

// fields lists the paths of a JSON value with their types, each once.
func fields(path string, v any) []string {
	var all []string
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			all = append(all, fields(path+"."+key, value)...)
		}
	case []any:
		all = append(all, path+"[]")
		for _, value := range v {
			all = append(all, fields(path+"[]", value)...)
		}
	default:
		all = append(all, fmt.Sprintf("%s %T", path, v))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestEmptyListsAreLists: programs that read them need no special case.
func TestEmptyListsAreLists(t *testing.T) {
	for _, verb := range []string{"ls", "template ls", "pool ls", "pool claims"} {
		_, out, _ := run(t, fake.New(fake.Knobs{}), append(strings.Fields(verb), "--json")...)
		if strings.TrimSpace(out) != "[]" {
			t.Errorf("clade %s --json of an empty home prints %q, want []", verb, out)
		}
	}
	for _, verb := range []string{"tree", "du"} {
		_, out, _ := run(t, fake.New(fake.Knobs{}), verb, "--json")
		if strings.Contains(out, "null") {
			t.Errorf("clade %s --json of an empty home has a null:\n%s", verb, out)
		}
	}
}
