package lab_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lab"
	"github.com/clade-vm/clade/lab/fake"
)

var pages = flag.String("pages", "", "write the pages of the tests to this directory")

func html(t *testing.T, r *lab.Report, file string) string {
	t.Helper()
	var b bytes.Buffer
	if err := lab.WriteHTML(&b, r); err != nil {
		t.Fatal(err)
	}
	if *pages != "" {
		if err := os.WriteFile(filepath.Join(*pages, file), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestHTMLShowsTheVerdict(t *testing.T) {
	good, _ := perform(t, fake.Knobs{}, lab.Options{})
	lifelike(good)
	page := html(t, good, "good.html")
	for _, want := range []string{"Three machines, proven", good.Machines[1].Reading.MachineID, "freeze of machine parent", "template debian-12:1", "every machine has its own SMBIOS UUID"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of a good run has no %q", want)
		}
	}
	if strings.Contains(page, "What does not hold") {
		t.Error("the page of a good run says that something does not hold")
	}
	twins, _ := perform(t, fake.Knobs{Unreachable: "linked"}, lab.Options{SkipGeneralize: true})
	page = html(t, twins, "twins.html")
	for _, want := range []string{"What does not hold", "parent, full and linked share their machine-id", "the counter-proof"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of twins has no %q", want)
		}
	}
}

// lifelike gives a report of the fake, which takes no time, times to draw.
func lifelike(r *lab.Report) {
	at := 0.0
	for i := range r.Steps {
		took := map[bool]float64{true: 41.3, false: 1.7}[strings.HasPrefix(r.Steps[i].Name, "boot") || strings.HasPrefix(r.Steps[i].Name, "build")]
		r.Steps[i].Start, r.Steps[i].Seconds = at, took
		at += took
	}
	r.Seconds = at
}

func TestHTMLIsSelfContained(t *testing.T) {
	r, _ := perform(t, fake.Knobs{}, lab.Options{})
	page := html(t, r, "self.html")
	if outside := regexp.MustCompile(`(?i)(src|href)\s*=|url\(|@import|<script`).FindString(page); outside != "" {
		t.Errorf("the page refers to something outside: %q", outside)
	}
}

// TestHTMLEscapes plants hostile text wherever a guest, an image or an error can
// put some.
func TestHTMLEscapes(t *testing.T) {
	r, _ := perform(t, fake.Knobs{Unreachable: "linked"}, lab.Options{SkipGeneralize: true})
	const evil = `<script>alert("x")</script>'"><img src=x onerror=y>` + "\x1b[2J"
	r.Recipe, r.Template, r.Problem = evil, evil, evil
	for _, m := range r.Machines {
		m.Reading = &clade.Reading{Hostname: evil, MachineID: evil, UUID: evil, MACs: []string{evil, evil}, IPs: []string{evil}, HostKeys: []string{evil}, InstanceID: evil}
		m.Clone = clade.CloneKind(evil)
	}
	for _, l := range r.Lineage.Layers {
		l.Origin, l.Digest = evil, evil
	}
	for i := range r.Checks {
		r.Checks[i].Detail, r.Checks[i].Values = evil, map[string]string{evil: evil}
	}
	for i := range r.Shared {
		r.Shared[i].Value = evil
	}
	page := html(t, r, "evil.html")
	for _, bad := range []string{"<script", "<img"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	var text bytes.Buffer
	if err := lab.WriteText(&text, r, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), "\x1b") {
		t.Error("the text has an escape character in it")
	}
}

// TestHTMLOfAnEarlyEnd draws what there is after each way to end early.
func TestHTMLOfAnEarlyEnd(t *testing.T) {
	for _, act := range []string{"build", "start", "template", "clone", "exec", "stop"} {
		r, err := lab.Run(t.Context(), fake.New(fake.Knobs{FailOn: act}), lab.Options{Greet: time.Millisecond}, lab.Watch{})
		if err == nil {
			t.Fatalf("%s: no error", act)
		}
		if page := html(t, r, "early.html"); !strings.Contains(page, "The run ended early") {
			t.Errorf("%s: the page does not say that the run ended early", act)
		}
	}
}

// TestHTMLIsWellFormed closes what it opens.
func TestHTMLIsWellFormed(t *testing.T) {
	r, _ := perform(t, fake.Knobs{}, lab.Options{})
	page := html(t, r, "form.html")
	page = regexp.MustCompile(`(?s)<!doctype html>|<style>.*</style>|<meta [^>]*>`).ReplaceAllString(page, "")
	d := xml.NewDecoder(strings.NewReader(page))
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
