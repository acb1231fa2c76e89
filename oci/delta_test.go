package oci

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
)

func TestTemplateTravels(t *testing.T) {
	s, from, to := serve(t), master(t), newHome(t)
	m := from.template("2", delta, base)
	s.when(func(_ http.ResponseWriter, r *http.Request) bool {
		if e := r.Header.Get("Accept-Encoding"); e != "" {
			t.Errorf("%s %s: blobs must come as they are, not %s", r.Method, r.URL.Path, e)
		}
		return false
	})
	pushed := must[*Pushed](t)(from.push(s, m))
	if pushed.Name != s.host+"/vms/debian-12:2" || !strings.HasPrefix(pushed.Digest, "sha256:") || pushed.Had != 0 ||
		pushed.Sent < 3300<<10 || pushed.Sent > 3500<<10 {
		t.Errorf("Push = %+v", pushed)
	}
	a, n, err := to.pull(s, "2")
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, to, from, base, delta)
	want, _ := m.Marshal()
	if got, err := a.Manifest.Marshal(); err != nil || string(got) != string(want) {
		t.Errorf("the manifest came as\n%s, %v, want\n%s", got, err, want)
	}
	if a.Digest != pushed.Digest {
		t.Errorf("Digest = %s, was pushed as %s", a.Digest, pushed.Digest)
	}
	if sum := a.Packed(a.Manifest.Layers[0]) + a.Packed(a.Manifest.Layers[1]); n != sum {
		t.Errorf("fetched %d bytes, and Packed had said %d", n, sum)
	}
	// By its digest it is the same.
	byDigest, err := Open(t.Context(), s.host+"/vms/debian-12@"+pushed.Digest, impatient(t))
	if err != nil || byDigest.Manifest.Version != "2" {
		t.Errorf("Open by digest = %+v, %v", byDigest, err)
	}
}

// TestOnlyTheDeltaTravels counts at the registry what the second version costs.
func TestOnlyTheDeltaTravels(t *testing.T) {
	s, from, to := serve(t), master(t), newHome(t)
	must[*Pushed](t)(from.push(s, from.template("1", base)))
	if _, _, err := to.pull(s, "1"); err != nil {
		t.Fatal(err)
	}
	first, firstSent, _ := s.tally()
	from.opened = nil
	pushed := must[*Pushed](t)(from.push(s, from.template("2", delta, base)))
	received, _, _ := s.tally()
	if _, _, err := to.pull(s, "2"); err != nil {
		t.Fatal(err)
	}
	_, sent, requests := s.tally()
	mustHold(t, to, from, base, delta)
	const most = 300<<10 + 20<<10 // the delta, the manifests, and what is in an empty overlay
	if received > most || first < 3<<20 {
		t.Errorf("the registry received %d bytes for version 1 and %d for version 2, want at most %d", first, received, most)
	}
	if sent > most || firstSent < 3<<20 {
		t.Errorf("the registry sent %d bytes of version 1 and %d of version 2, want at most %d", firstSent, sent, most)
	}
	if pushed.Sent > most || pushed.Had < 3<<20 {
		t.Errorf("Push = %+v, want what the registry counted", pushed)
	}
	if len(from.opened) != 1 || from.opened[0] != delta {
		t.Errorf("the layers %v were packed, want %s alone", from.opened, delta)
	}
	if blobs := slices.DeleteFunc(requests, func(r string) bool { return !strings.Contains(r, "GET") || !strings.Contains(r, "/blobs/") }); len(blobs) != 2 {
		t.Errorf("the pull fetched %v, want a manifest and a layer", blobs)
	}
	t.Logf("version 1: %d bytes up, %d down; version 2: %d up, %d down", first, firstSent, received, sent)
}

// TestInterruptedPushGoesOn has the registry fail at the second layer, and then
// counts what is sent again.
func TestInterruptedPushGoesOn(t *testing.T) {
	s, from := serve(t), master(t)
	m := from.template("2", delta, base)
	var puts atomic.Int32
	s.when(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		if puts.Add(1) == 2 {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		return false
	})
	if _, err := from.push(s, m); !errors.Is(err, clade.Busy) || !strings.Contains(err.Error(), "layer "+delta) {
		t.Fatalf("error = %v, want kind Busy and the layer's name", err)
	}
	if _, _, err := newHome(t).pull(s, "2"); !errors.Is(err, clade.NotFound) {
		t.Errorf("half a push can be pulled: error = %v, want kind NotFound", err)
	}
	s.when(nil)
	s.tally()
	pushed := must[*Pushed](t)(from.push(s, m))
	received, _, _ := s.tally()
	if received > 400<<10 || pushed.Had < 3<<20 {
		t.Errorf("%d bytes were sent again (%+v): the base was there", received, pushed)
	}
}

// TestInterruptedPullGoesOn cuts the second layer off; the first one is kept.
func TestInterruptedPullGoesOn(t *testing.T) {
	s, from, to := serve(t), master(t), newHome(t)
	must[*Pushed](t)(from.push(s, from.template("2", delta, base)))
	a, err := Open(t.Context(), s.host+"/vms/debian-12:2", impatient(t))
	if err != nil {
		t.Fatal(err)
	}
	s.when(cutting(a.blobs[delta].Digest.String(), must[[]byte](t)(fetchAll(t.Context(), a.repo.Blobs(), a.blobs[delta], 10<<20))))
	if _, _, err := to.pull(s, "2"); !errors.Is(err, clade.Busy) || !strings.Contains(err.Error(), "layer "+delta) {
		t.Fatalf("error = %v, want kind Busy and the layer's name", err)
	}
	mustHold(t, to, from, base)
	s.when(nil)
	s.tally()
	if _, _, err := to.pull(s, "2"); err != nil {
		t.Fatal(err)
	}
	if _, sent, _ := s.tally(); sent > 400<<10 {
		t.Errorf("%d bytes were fetched again: the base was there", sent)
	}
	mustHold(t, to, from, base, delta)
}

// TestBrokenBlobGoesOnWhereItBroke has a registry that serves parts of blobs break
// each connection after a while.
func TestBrokenBlobGoesOnWhereItBroke(t *testing.T) {
	s, from, to := serve(t), master(t), newHome(t)
	must[*Pushed](t)(from.push(s, from.template("1", base)))
	a, err := Open(t.Context(), s.host+"/vms/debian-12:1", impatient(t))
	if err != nil {
		t.Fatal(err)
	}
	body := must[[]byte](t)(fetchAll(t.Context(), a.repo.Blobs(), a.blobs[base], 10<<20))
	var served atomic.Int64
	breaking := func(first, then int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, a.blobs[base].Digest.String()) {
				return false
			}
			n := first
			if r.Header.Get("Range") != "" {
				n = then
			}
			if got := parts(w, r, body, n); served.Add(got) > 0 && got == int64(n) {
				panic(http.ErrAbortHandler)
			}
			return true
		}
	}
	s.when(breaking(1<<20, 1<<20))
	_, n, err := to.pull(s, "1")
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, to, from, base)
	if served.Load() > int64(len(body))+10 || int64(n) > served.Load() {
		t.Errorf("%d bytes were served and %d counted of a blob of %d", served.Load(), n, len(body))
	}
	// One that has no more to give than the byte that it gave before is left alone.
	s.when(breaking(1<<20, 1))
	s.tally()
	if _, _, err := newHome(t).pull(s, "1"); !errors.Is(err, clade.Busy) {
		t.Errorf("a registry that gives nothing more: error = %v, want kind Busy", err)
	}
}

func TestVersionsNeverChange(t *testing.T) {
	s, from := serve(t), master(t)
	m := from.template("1", base)
	first := must[*Pushed](t)(from.push(s, m))
	s.tally()
	again := must[*Pushed](t)(from.push(s, m))
	if received, _, _ := s.tally(); received != 0 || again.Digest != first.Digest || again.Sent != 0 || again.Had != first.Sent {
		t.Errorf("the same again: %d bytes were sent, Push = %+v, want the first one's %+v", received, again, first)
	}
	other := from.template("1", delta, base)
	if _, err := from.push(s, other); !errors.Is(err, clade.Exists) {
		t.Errorf("another content: error = %v, want kind Exists", err)
	}
	if a, _, err := newHome(t).pull(s, "1"); err != nil || a.Digest != first.Digest {
		t.Errorf("afterwards there is %+v, %v, want the first one", a, err)
	}
	must[*Pushed](t)(from.push(s, from.template("2", delta, base)))
}

// TestEqualLayersAreOneBlob pushes two blank disks, which are equal.
func TestEqualLayersAreOneBlob(t *testing.T) {
	s, from, to := serve(t), newHome(t), newHome(t)
	from.make("cccc234567", "", 0)
	from.make("dddd234567", "", 0)
	m := from.template("1", "cccc234567")
	m.AddDisk(1, []*clade.Layer{from.records["dddd234567"]}, nil)
	must[*Pushed](t)(from.push(s, m))
	if len(from.opened) != 1 {
		t.Errorf("%v were packed, want one of two", from.opened)
	}
	if _, _, err := to.pull(s, "1"); err != nil {
		t.Fatal(err)
	}
	mustHold(t, to, from, "cccc234567", "dddd234567")
}

// TestLayersOfTheNewestVersionsAreFound has more versions than are looked at.
func TestLayersOfTheNewestVersionsAreFound(t *testing.T) {
	s, from, other := serve(t), master(t), newHome(t)
	other.make("eeee234567", "", 100)
	for n := range maxVersions + 1 {
		must[*Pushed](t)(other.push(s, other.template(fmt.Sprint(10+n), "eeee234567")))
	}
	must[*Pushed](t)(from.push(s, from.template("99", base)))
	from.opened = nil
	must[*Pushed](t)(from.push(s, from.template("100", delta, base)))
	if len(from.opened) != 1 {
		t.Errorf("%v were packed, want %s alone", from.opened, delta)
	}
	if got := []string{"2", "10", "1", "9", "11"}; !slices.IsSortedFunc(sorted(got), newer) || sorted(got)[0] != "11" {
		t.Errorf("sorted(%v) = %v", got, sorted(got))
	}
}

func sorted(tags []string) []string { return slices.SortedFunc(slices.Values(tags), newer) }

func TestWhatIsPushed(t *testing.T) {
	s, from := serve(t), master(t)
	machine := bundle.OfMachine(&clade.Machine{Name: "web"})
	for name, c := range map[string]struct {
		name string
		m    *bundle.Manifest
		kind clade.Kind
	}{
		"a machine":    {s.host + "/vms/web:1", machine, clade.Invalid},
		"no registry":  {"debian-12:1", from.template("1", base), clade.Invalid},
		"a digest":     {s.host + "/vms/x@sha256:" + strings.Repeat("0", 64), from.template("1", base), clade.Invalid},
		"upper case":   {s.host + "/VMS/x:1", from.template("1", base), clade.Invalid},
		"an option":    {"-x/y:1", from.template("1", base), ""},
		"not sound":    {s.host + "/vms/x:1", bundle.OfTemplate(&clade.Template{Name: "x", Version: "1"}), clade.Corrupt},
		"nobody there": {"127.0.0.1:1/vms/x:1", from.template("1", base), clade.NotFound},
	} {
		if _, err := Push(t.Context(), c.name, c.m, from.open, impatient(t), nil); err == nil || c.kind != "" && clade.KindOf(err) != c.kind {
			t.Errorf("%s: Push(%s) error = %v, want kind %q", name, c.name, err, c.kind)
		}
	}
	pushed, err := Push(t.Context(), s.host+"/vms/x", from.template("7", base), from.open, impatient(t), nil)
	if err != nil || pushed.Name != s.host+"/vms/x:7" {
		t.Errorf("Push without a version = %+v, %v, want the template's own", pushed, err)
	}
	if _, err := Open(t.Context(), s.host+"/vms/x", impatient(t)); !errors.Is(err, clade.Invalid) {
		t.Errorf("Open without a version: error = %v, want kind Invalid", err)
	}
}
