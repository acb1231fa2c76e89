package pool_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/clade-vm/clade/pool"
)

// editor returns what an editor says of a declaration: its schema, by a validator that
// is not ours.
func editor(t *testing.T) func(text string) error {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(pool.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("pool.schema.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("pool.schema.json") // checks it against the schema of schemas
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) error {
		data, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			return err
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return err
		}
		return compiled.Validate(value)
	}
}

// An editor and clade agree on what is a declaration, but for what no schema can say.
func TestSchemaAgrees(t *testing.T) {
	valid := editor(t)
	const base = "name: l\ntemplate: t\nsize: 1\n"
	for text, want := range map[string]bool{
		lab:  true,
		base: true,
		base + "spares: 2\nkind: instant\npolicy: keep\nisolated: false": true,
		base + "memory: 536870912\ndata_disk: 1.5 GiB\nmax_disk: 1t":     true,
		base + "ttl: 1h30m\npatience: 90s":                               true,
		base + "user_data: |\n  #cloud-config\n  package_update: true":   true,
		base + "ssh_keys:\n  - ssh-ed25519 AAAA me\n  - ssh-rsa BBBB me": true,
		base + "network: bridge:br0\nnames: 'x{n}'":                      true,
		base + "schedule: 08:00 size=3":                                  true,
		"name: l\ntemplate: debian-12:1.0-rc_1\nsize: 0":                 true,
		"name: l\ntemplate: t":                                           true, // by spares, a schedule, or later
		"name: l\nsize: 1":                                               false,
		"template: t\nsize: 1":                                           false,
		"name: L\ntemplate: t\nsize: 1":                                  false,
		"name: -l\ntemplate: t\nsize: 1":                                 false,
		"name: l\ntemplate: T\nsize: 1":                                  false,
		"name: l\ntemplate: 't:'\nsize: 1":                               false,
		"name: l\ntemplate: a:b:c\nsize: 1":                              false,
		"name: l\ntemplate: t\nsize: -1":                                 false,
		"name: l\ntemplate: t\nsize: 10001":                              false,
		"name: l\ntemplate: t\nsize: many":                               false,
		"name: l\ntemplate: t\nsize: 1.5":                                false,
		base + "colour: blue":                                            false,
		base + "policy: burn":                                            false,
		base + "kind: virtual":                                           false,
		base + "kind: full\npolicy: reset":                               false,
		base + "names: same":                                             false,
		base + "names: 'x{n:2}'":                                         false,
		base + "ttl: forever":                                            false,
		base + "ttl: 3":                                                  false,
		base + "cpus: 1.5":                                               false,
		base + "cpus: '2'":                                               false,
		base + "memory: 1.5":                                             false,
		base + "memory: [1]":                                             false,
		base + "max_disk: -1G":                                           false,
		base + "ttl: -3h":                                                false,
		base + "memory: lots":                                            false,
		base + "memory: -1":                                              false,
		base + "isolated: perhaps":                                       false,
		base + "ssh_keys: ssh-ed25519":                                   false,
		base + "max_cpus: -1":                                            false,
	} {
		if err := valid(text); (err == nil) != want {
			t.Errorf("an editor says of %q: %v; want it valid: %v", text, err, want)
		}
		if _, err := pool.Declarations([]byte(text)); (err == nil) != want {
			t.Errorf("clade says of %q: %v; want it valid: %v", text, err, want)
		}
	}
}

// What the pages show as a declaration is one.
func TestDocumentedDeclarations(t *testing.T) {
	valid := editor(t)
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	seen := 0
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range block.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(found[1], "\ntemplate: ") {
				continue
			}
			seen++
			if err := valid(found[1]); err != nil {
				t.Errorf("%s: an editor says of a declaration: %v", page, err)
			}
			if _, err := pool.Declarations([]byte(found[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
	if seen == 0 {
		t.Error("no page shows a declaration")
	}
}
