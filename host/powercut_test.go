//go:build integration

package host_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A powerCut is what a power cut would leave of the files that acts put in place: which
// content and which names are not yet there for good. Removals are, in doubt.
type powerCut struct {
	content  map[string]bool // files with content that was not synced
	names    map[string]bool // files and directories whose name was not, by path
	made     map[string]bool // what this act made
	commits  int
	problems []string
}

// placed are the files that records name, and the directories they are in.
var placed = regexp.MustCompile(`^(layers/[a-z2-7]+(/layer\.qcow2)?|machines/[a-z2-7]+(/disk[0-9]+-[0-9]+\.qcow2)?)$`)

// saw takes note of a call, in the order in which the kernel is asked.
func (p *powerCut) saw(c call) {
	switch c.name {
	case "open":
		if c.create && c.write {
			p.made[c.path] = true // locks and databases too, which are not placed
		}
	case "write", "truncate", "clone":
		p.content[c.path] = true
	case "mkdir":
		p.made[c.path], p.names[c.path] = true, true
	case "rename", "link":
		p.moved(c)
	case "sync":
		p.synced(c)
	case "syncfs":
		clear(p.content)
		clear(p.names)
	case "unlink":
		if placed.MatchString(c.path) && !p.made[c.path] && p.commits == 0 {
			p.problems = append(p.problems, "removed before the record was: "+c.path)
		}
	}
}

// moved gives what lies at the old name, and below it, the new one.
func (p *powerCut) moved(c call) {
	for _, state := range []map[string]bool{p.content, p.names, p.made} {
		for file := range state {
			if below, is := strings.CutPrefix(file, c.path); is && c.to != "" && (below == "" || below[0] == '/') {
				state[c.to+below] = true
				if c.name == "rename" {
					delete(state, file)
				}
			}
		}
	}
	p.made[c.to], p.names[c.to] = true, true
	if strings.HasPrefix(c.to, "cache/") && p.content[c.to] { // no record will say when it is whole
		p.problems = append(p.problems, "has its name before its content: "+c.to)
	}
}

// synced makes the content of a file last, or the names in a directory; and a
// transaction, for which all that it records must be there.
func (p *powerCut) synced(c call) {
	delete(p.content, c.path)
	for file := range p.names {
		if filepath.Dir(file) == c.path {
			delete(p.names, file)
		}
	}
	if c.path != "clade.db-wal" {
		return
	}
	p.commits++
	for file := range p.content {
		if placed.MatchString(file) {
			p.problems = append(p.problems, "recorded before its content is on the disk: "+file)
		}
	}
	for file := range p.names {
		if placed.MatchString(file) {
			p.problems = append(p.problems, "recorded before its name is on the disk: "+file)
		}
	}
}

// TestPowerCuts watches in which order acts write, name, sync and record files. At
// no transaction is there a file in place whose content or name a power cut would
// take away, and no file goes before its record has.
func TestPowerCuts(t *testing.T) {
	r := rigged(t, newDrive(t))
	x := newTrap(t, r.dir)
	if err := r.steps(suffering); err != nil {
		t.Fatal(err)
	}
	cold := ordeal{"build x 144", nil, []string{"rm x"}} // the master is not in the cache yet
	for _, o := range append([]ordeal{cold}, ordeals...) {
		if err := r.steps(o.before); err != nil {
			t.Fatalf("%s: before: %v", o.act, err)
		}
		p := &powerCut{content: map[string]bool{}, names: map[string]bool{}, made: map[string]bool{}}
		seen := 0
		want := r.model.apply(o.act)
		kind, text, err := x.do(o.act, func(c call) syscall.Errno {
			p.saw(c)
			seen++
			return 0
		})
		if err != nil || kind != want {
			t.Fatalf("%s: %q: %s (%v)", o.act, kind, text, err)
		}
		verb, _, _ := strings.Cut(o.act, " ")
		if records := !strings.Contains("start kill export collect verify", verb); seen < 20 || records && p.commits == 0 {
			t.Errorf("%s: %d calls and %d transactions were seen", o.act, seen, p.commits)
		}
		for _, problem := range p.problems {
			t.Errorf("%s: %s", o.act, problem)
		}
		if err := r.steps(o.after); err != nil {
			t.Fatalf("%s: after: %v", o.act, err)
		}
	}
	if err := r.same(r.model); err != nil {
		t.Error(err)
	}
}
