package lab

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
)

//go:embed report.html
var reportHTML string

// WriteHTML writes the report as one page for people, which needs no other file,
// suits light and dark screens, and prints. All text is escaped.
func WriteHTML(w io.Writer, r *Report) error {
	t, err := template.New("report").Funcs(template.FuncMap{"plain": plain, "seconds": seconds, "list": list, "lines": lines}).Parse(reportHTML)
	if err != nil {
		return err
	}
	return t.Execute(w, newPage(r))
}

// A page is a report as the template wants it.
type page struct {
	*Report
	Others   []Check // those that do not hold and that Shared does not tell of
	Groups   []pageGroup
	Rows     []row
	Clones   []bar // own bytes of the clones, before and after boot
	Totals   []bar // of all machines
	Saved    string
	Ways     [][]cell // who reaches whom; the first row and column are names
	Timeline []span
	Picture  *picture
}

type pageGroup struct {
	Title, Promise string
	OK, All        int
	Checks         []Check
}

// A bar is a size as a share of the largest one.
type bar struct {
	Name, Note, Class string
	Size              clade.Bytes
	Percent           float64
}

// A cell is one field of a table of ways.
type cell struct {
	Text  string
	Head  bool
	Known bool
	OK    bool
}

// A span is a step on the line of time, in percent of the whole.
type span struct {
	Step
	Left, Width float64
}

func newPage(r *Report) *page {
	p := &page{Report: r, Rows: rows(r), Ways: ways(r), Picture: draw(r)}
	told := map[string]bool{}
	for _, s := range r.Shared {
		told[unshared(s.Mark)] = true
	}
	for _, c := range r.Failed() {
		if !told[c.Name] {
			p.Others = append(p.Others, c)
		}
	}
	for _, name := range r.groups() {
		promise, title, found := strings.Cut(name, ": ")
		if !found {
			promise, title = "honest", name
		}
		g := pageGroup{Promise: promise, Title: title, Checks: r.in(name)}
		for _, c := range g.Checks {
			g.All++
			if c.OK {
				g.OK++
			}
		}
		p.Groups = append(p.Groups, g)
	}
	p.bars()
	total := math.Max(r.Seconds, 0.001)
	steps := slices.Clone(r.Steps)
	slices.SortStableFunc(steps, func(a, b Step) int { return int(math.Copysign(1, a.Start-b.Start)) })
	for _, s := range steps {
		left := min(s.Start/total*100, 99.6)
		p.Timeline = append(p.Timeline, span{Step: s, Left: left, Width: min(max(s.Seconds/total*100, 0.4), 100-left)})
	}
	return p
}

// bars fills in the pictures of disk usage.
func (p *page) bars() {
	for _, m := range p.Machines {
		if m.Clone != "" {
			p.Clones = append(p.Clones,
				bar{Name: string(m.Name), Note: "before boot, made in " + seconds(m.Made), Class: string(m.Clone), Size: m.Before},
				bar{Name: string(m.Name), Note: "after boot", Class: string(m.Clone) + " after", Size: m.After})
		}
	}
	scale(p.Clones)
	if u := p.Usage; u != nil && u.FullCost > 0 {
		p.Totals = []bar{
			{Name: "full copies", Note: "of all machines", Class: "full", Size: u.FullCost},
			{Name: "with layers", Note: "what they take", Class: "linked", Size: u.Allocated},
		}
		scale(p.Totals)
		if u.FullCost > u.Allocated {
			p.Saved = fmt.Sprintf("%.0f %% saved", 100-float64(u.Allocated)/float64(u.FullCost)*100)
		}
	}
}

func scale(bars []bar) {
	most := clade.Bytes(1)
	for _, b := range bars {
		most = max(most, b.Size)
	}
	for i := range bars {
		bars[i].Percent = float64(bars[i].Size) / float64(most) * 100
	}
}

// ways returns the table of who reaches whom, from the checks that were made.
func ways(r *Report) [][]cell {
	found := map[string]bool{}
	for _, c := range r.in(Reach) {
		found[c.Name] = c.OK
	}
	if len(found) == 0 {
		return nil
	}
	head := []cell{{Head: true}}
	from := []string{"the host"}
	for _, m := range r.Machines {
		head = append(head, cell{Text: string(m.Name), Head: true})
		from = append(from, string(m.Name))
	}
	table := [][]cell{head}
	for _, f := range from {
		line := []cell{{Text: f, Head: true}}
		for _, m := range r.Machines {
			ok, known := found[way(f, string(m.Name))]
			line = append(line, cell{Known: known, OK: ok})
		}
		table = append(table, line)
	}
	return table
}

// way is the name of the check that one reaches the other.
func way(from, to string) string { return from + " reaches " + to }

// lines writes the values of a check, sorted by name.
func lines(values map[string]string) []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := plain(values[key])
		if value == "" {
			value = "–"
		}
		all = append(all, plain(key)+": "+value)
	}
	return all
}
