package pool_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
)

const lab = `# the lab on the second floor
name: lab
template: debian-12:1
size: 30
spares: 2
policy: reset
names: lab-{n:02}
ttl: 3h
memory: 512M
isolated: true
max_cpus: 40
schedule: Mon-Fri 08:00 size=30; 18:00 size=0
`

func TestDeclarations(t *testing.T) {
	specs, err := pool.Declarations([]byte("---\n" + lab + "---\nname: exam\ntemplate: debian-12\nsize: 1\n--- \n# no more\n"))
	if err != nil || len(specs) != 2 {
		t.Fatalf("Declarations = %+v, %v; want two", specs, err)
	}
	got := specs[0]
	want := clade.PoolSpec{Name: "lab", Template: clade.Ref{Name: "debian-12", Version: "1"}, Size: 30, Spares: 2, Policy: clade.Reset, Kind: clade.Linked,
		Names: "lab-{n:02}", TTL: clade.Span(3 * time.Hour), Memory: 512 * clade.MiB, Isolated: true, MaxCPUs: 40,
		Schedule: "Mon-Fri 08:00 size=30; 18:00 size=0", Patience: clade.DefaultPatience}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Declarations = %+v, want %+v", got, want)
	}
	if specs[1].Names != "exam-{n}" || specs[1].Policy != clade.Recreate {
		t.Errorf("without them the names are %q and the policy is %q", specs[1].Names, specs[1].Policy)
	}
}

func TestBadDeclarations(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "declares nothing",
		"# nothing":                       "declares nothing",
		lab + "colour: blue":              "colour",
		lab + "---\n" + lab:               "declared twice",
		"name: lab\nsize: 1":              "no template",
		"name: Lab\ntemplate: t\nsize: 1": "not a valid name",
		"name: l\ntemplate: t\nsize: -1":  "sizes and spares",
		"name: l\ntemplate: t\nsize: 1\npolicy: burn":              "no policy",
		"name: l\ntemplate: t\nsize: 1\nnames: same":               "no number",
		"name: l\ntemplate: t\nsize: 1\nnames: Lab-{n}":            "not a valid name",
		"name: l\ntemplate: t\nsize: 1\nttl: forever":              "not a length of time",
		"name: l\ntemplate: t\nsize: 1\nmemory: lots":              "not a size",
		"name: l\ntemplate: t\nsize: 1\nschedule: noon size=1":     "not a time",
		"name: l\ntemplate: t\nsize: 1\nkind: full\npolicy: reset": "rest on nothing",
		"name: l\ntemplate: t\nsize: 1\nnames: [":                  "line 4",
		"name: l\ntemplate: a:b:c\nsize: 1":                        "not a valid version",
		strings.Repeat("#", 1<<20) + "\n" + lab:                    "larger than",
	} {
		specs, err := pool.Declarations([]byte(text))
		if clade.KindOf(err) != clade.Invalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Declarations(%.60q) = %v, %v; want kind %q and %q", text, specs, err, clade.Invalid, want)
		}
	}
}

// The schema that editors use has the fields of a spec, no more and no fewer, and
// the words for the choices.
func TestSchemaIsOfTheSpec(t *testing.T) {
	var schema struct {
		Required   []string
		Properties map[string]struct {
			Type        string
			Enum        []string
			Description string
			Ref         string `json:"$ref"`
		}
	}
	if err := json.Unmarshal(pool.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{"string": "string", "int": "integer", "bool": "boolean", "slice": "array"}
	spec := reflect.TypeFor[clade.PoolSpec]()
	for i := range spec.NumField() {
		f := spec.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p, ok := schema.Properties[name]
		if !ok || p.Description == "" {
			t.Errorf("the schema does not have, or does not explain, %s", name)
			continue
		}
		delete(schema.Properties, name)
		want := types[f.Type.Kind().String()]
		switch f.Type {
		case reflect.TypeFor[clade.Bytes]():
			want = "#/$defs/bytes"
		case reflect.TypeFor[clade.Span]():
			want = "#/$defs/span"
		case reflect.TypeFor[clade.Ref]():
			want = "string"
		case reflect.TypeFor[clade.CloneKind](), reflect.TypeFor[clade.Policy]():
			want = ""
		}
		if p.Type+p.Ref != want {
			t.Errorf("%s is %q in the schema, want %q", name, p.Type+p.Ref, want)
		}
		if f.Type == reflect.TypeFor[clade.Policy]() && !slices.Equal(p.Enum, []string{"keep", "reset", "recreate"}) {
			t.Errorf("the policies are %v", p.Enum)
		}
	}
	for name := range schema.Properties {
		t.Errorf("the schema has %s, a spec does not", name)
	}
}

func TestDiff(t *testing.T) {
	specs, err := pool.Declarations([]byte(lab))
	if err != nil {
		t.Fatal(err)
	}
	old, changed := specs[0], specs[0]
	if d := pool.Diff(old, changed); len(d) != 0 {
		t.Errorf("Diff of the same = %v", d)
	}
	changed.Size, changed.Schedule, changed.DataDisk = 40, "", clade.GiB
	want := []pool.Difference{{"data_disk", "", "1073741824"}, {"schedule", `"Mon-Fri 08:00 size=30; 18:00 size=0"`, ""}, {"size", "30", "40"}}
	if d := pool.Diff(old, changed); !slices.Equal(d, want) {
		t.Errorf("Diff = %v, want %v", d, want)
	}
}

func FuzzDeclarations(f *testing.F) {
	f.Add([]byte(lab))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := pool.Declarations(data); err != nil && clade.KindOf(err) != clade.Invalid {
			t.Errorf("Declarations(%q): %v of kind %q", data, err, clade.KindOf(err))
		}
	})
}
