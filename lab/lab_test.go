package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lab"
	"github.com/clade-vm/clade/lab/fake"
)

// perform runs the exercise on a fake home with the given knobs turned.
func perform(t *testing.T, k fake.Knobs, o lab.Options) (*lab.Report, *fake.Home) {
	t.Helper()
	home := fake.New(k)
	o.Greet = 20 * time.Millisecond
	r, err := lab.Run(t.Context(), home, o, lab.Watch{})
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return r, home
}

// failed returns the sorted names of the checks that do not hold, without the
// ids of layers, which are the fake's own.
func failed(r *lab.Report) []string {
	var names []string
	for _, c := range r.Failed() {
		names = append(names, layerID.ReplaceAllString(c.Name, "layer"))
	}
	slices.Sort(names)
	return names
}

var layerID = regexp.MustCompile(`^layer \S+`)

func TestRunHolds(t *testing.T) {
	r, home := perform(t, fake.Knobs{}, lab.Options{})
	if !r.Verdict || len(r.Failed()) > 0 {
		t.Errorf("verdict %v, failed %q; want all to hold", r.Verdict, failed(r))
	}
	// 1 attested, 3 bases, 7 marks, 3 as given, 1 unchanged, 3+6 ways, 3 apart, 1 audit, 2 layers
	if len(r.Checks) != 30 {
		t.Errorf("%d checks, want 30", len(r.Checks))
	}
	for _, m := range r.Machines {
		if m.Reading == nil || m.Before == 0 || m.After <= m.Before && m.Name != lab.Parent {
			t.Errorf("machine %s: reading %v, %v before boot, %v after", m.Name, m.Reading, m.Before, m.After)
		}
	}
	if left := remains(t, home); len(left) > 0 {
		t.Errorf("left in the home: %q", left)
	}
}

// remains lists what is in a home besides its default network.
func remains(t *testing.T, home *fake.Home) []string {
	t.Helper()
	var left []string
	l, err := home.Lineage(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range l.Machines {
		left = append(left, "machine "+string(m.Name))
	}
	for _, tpl := range l.Templates {
		left = append(left, "template "+tpl.Ref().String())
	}
	for _, layer := range l.Layers {
		left = append(left, "layer "+layer.ID)
	}
	networks, err := home.Networks(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		if n.Name != "default" {
			left = append(left, "network "+string(n.Name))
		}
	}
	return left
}

func TestRunKeeps(t *testing.T) {
	_, home := perform(t, fake.Knobs{}, lab.Options{Keep: true})
	want := []string{"machine full", "machine linked", "machine parent", "template debian-12:1"}
	if left := remains(t, home); !slices.Equal(left[:4], want) {
		t.Errorf("left in the home: %q, want %q and layers", left, want)
	}
}

func TestBrokenPromises(t *testing.T) {
	for _, test := range []struct {
		name  string
		knobs fake.Knobs
		skip  bool
		want  []string // the checks that must fail: these and no others
	}{
		{"twins", fake.Knobs{}, true, []string{"every machine has its own machine-id", "the machines' disks share no mark that must differ"}},
		{"a leaked file", fake.Knobs{Leak: true}, false, []string{"what parent writes is on parent only",
			"what full writes is on full only", "what linked writes is on linked only"}},
		{"a changed layer", fake.Knobs{Rot: true}, false, []string{"layer (freeze of machine parent) is bit for bit what it was",
			"layer (generalized for template debian-12:1) is bit for bit what it was"}},
		{"an unreachable machine", fake.Knobs{Unreachable: "linked"}, false, []string{"the host reaches linked",
			"parent reaches linked", "full reaches linked"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, _ := perform(t, test.knobs, lab.Options{SkipGeneralize: test.skip})
			if r.Verdict {
				t.Error("the verdict is true")
			}
			slices.Sort(test.want)
			if got := failed(r); !slices.Equal(got, test.want) {
				t.Errorf("failed %q, want %q", got, test.want)
			}
		})
	}
}

func TestTwinsAreNamed(t *testing.T) {
	r, _ := perform(t, fake.Knobs{}, lab.Options{SkipGeneralize: true})
	if len(r.Shared) != 1 || r.Shared[0].Mark != "machine-id" ||
		!slices.Equal(r.Shared[0].Machines, []clade.Name{lab.Parent, lab.Full, lab.Linked}) {
		t.Errorf("shared %+v, want the machine-id of all three", r.Shared)
	}
	var b bytes.Buffer
	if err := lab.WriteText(&b, r, false); err != nil {
		t.Fatal(err)
	}
	if want := "machine-id of parent, full and linked: " + r.Shared[0].Value; !strings.Contains(b.String(), want) {
		t.Errorf("the text has no %q:\n%s", want, b.String())
	}
}

func TestErrorsEndTheRunAndCleanUp(t *testing.T) {
	for _, act := range []string{"build", "start", "read", "template", "clone", "exec", "stop", "audit"} {
		t.Run(act, func(t *testing.T) {
			home := fake.New(fake.Knobs{FailOn: act})
			r, err := lab.Run(t.Context(), home, lab.Options{Greet: time.Millisecond}, lab.Watch{})
			if !errors.Is(err, clade.Internal) || r.Verdict || r.Problem == "" {
				t.Errorf("error %v, verdict %v, problem %q; want the knob's error in all", err, r.Verdict, r.Problem)
			}
			if left := remains(t, home); len(left) > 0 {
				t.Errorf("left in the home: %q", left)
			}
		})
	}
}

func TestInterruptCleansUp(t *testing.T) {
	home := fake.New(fake.Knobs{})
	ctx, cancel := context.WithCancel(t.Context())
	watch := lab.Watch{Part: func(number int, _ string) {
		if number == 3 {
			cancel()
		}
	}}
	r, err := lab.Run(ctx, home, lab.Options{}, watch)
	if err == nil || r.Verdict {
		t.Errorf("error %v, verdict %v; want an error and no verdict", err, r.Verdict)
	}
	if left := remains(t, home); len(left) > 0 {
		t.Errorf("left in the home: %q", left)
	}
}

func TestWatchSeesEverything(t *testing.T) {
	var parts []string
	steps, checks := 0, 0
	r, err := lab.Run(t.Context(), fake.New(fake.Knobs{}), lab.Options{}, lab.Watch{
		Part:  func(_ int, title string) { parts = append(parts, title) },
		Step:  func(lab.Step) { steps++ },
		Check: func(lab.Check) { checks++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(parts, []string{"Prepare the master", "Make the clones", "Verify"}) || steps != len(r.Steps) || checks != len(r.Checks) {
		t.Errorf("parts %q, %d of %d steps, %d of %d checks", parts, steps, len(r.Steps), checks, len(r.Checks))
	}
}

// TestJSONFields freezes the names of the report's fields.
func TestJSONFields(t *testing.T) {
	r, _ := perform(t, fake.Knobs{}, lab.Options{SkipGeneralize: true})
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var whole struct {
		Steps, Machines, Checks, Shared []map[string]any
	}
	var top map[string]any
	if err := errors.Join(json.Unmarshal(data, &whole), json.Unmarshal(data, &top)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what string
		got  map[string]any
		want string
	}{
		{"report", top, "checks lineage machines recipe seconds shared skip_generalize started steps template usage verdict"},
		{"step", whole.Steps[0], "name ok part seconds start"},
		{"machine", whole.Machines[1], "boot_seconds bytes_after_boot bytes_before_boot clone identity made_seconds name reading rests_on"},
		{"shared", whole.Shared[0], "machines mark value"},
	} {
		var keys []string
		for key := range test.got {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if got := strings.Join(keys, " "); got != test.want {
			t.Errorf("%s has the fields\n  %s\nwant\n  %s", test.what, got, test.want)
		}
	}
}
