package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

// A twig is one thing of a lineage that is drawn, with what rests on it.
type twig struct {
	kind  string // layer, template, warm, snapshot or machine
	name  string
	bytes clade.Bytes // what it takes on the disk; templates and snapshots take layers
	note  string      // where it comes from
	id    string      // of a layer
	above []*twig
}

// forest returns the trees of a lineage; machines that rest on nothing are last.
func forest(l *clade.Lineage, u *clade.Usage) []*twig {
	f := &planter{tree: lineage.New(l), layers: map[string]*twig{}, machines: map[clade.Name]*twig{}}
	for _, layer := range l.Layers {
		f.layers[layer.ID] = &twig{kind: "layer", name: layer.ID, id: layer.ID, note: layer.Origin}
	}
	for _, layer := range u.Layers {
		if one := f.layers[layer.ID]; one != nil {
			one.bytes = layer.Allocated
		}
	}
	for _, m := range l.Machines {
		one := &twig{kind: "machine", name: string(m.Name)}
		if m.Clone != "" {
			one.note = string(m.Clone) + " clone of " + m.Source
		} else if m.Source != "" {
			one.note = "from " + m.Source
		}
		f.machines[m.Name] = one
	}
	for _, m := range u.Machines {
		if one := f.machines[m.Name]; one != nil {
			one.bytes = m.Allocated
		}
	}
	var roots []*twig
	for _, root := range f.tree.Roots(l) {
		roots = append(roots, f.layer(root.ID, 0))
	}
	for _, m := range l.Machines {
		if !rests(m) {
			roots = append(roots, f.machines[m.Name])
		}
	}
	return roots
}

func rests(m *clade.Machine) bool {
	for _, d := range m.Disks {
		if d.Layer != "" {
			return true
		}
	}
	return false
}

type planter struct {
	tree     *lineage.Tree
	layers   map[string]*twig
	machines map[clade.Name]*twig
}

// layer adds to a layer's twig what rests on it.
func (f *planter) layer(id string, depth int) *twig {
	one := f.layers[id]
	if depth > len(f.layers) {
		return one // circular records
	}
	machines, templates := f.tree.On(id)
	for _, t := range templates {
		one.above = append(one.above, &twig{kind: "template", name: t})
	}
	for _, s := range f.tree.SnapshotsOn(id) {
		one.above = append(one.above, &twig{kind: "snapshot", name: string(s.Name), note: "of machine " + string(s.Machine)})
	}
	for _, w := range f.tree.WarmOn(id) {
		name := w.ID // of one whose template is gone
		if w.Template.Name != "" {
			name = w.Template.String()
		}
		one.above = append(one.above, &twig{kind: "warm", name: name, bytes: w.Allocated(), note: "memory of a warm template"})
	}
	for _, m := range machines {
		one.above = append(one.above, f.machines[m])
	}
	for _, child := range f.tree.Children(id) {
		one.above = append(one.above, f.layer(child, depth+1))
	}
	return one
}

// writeTree draws trees as text.
func writeTree(w io.Writer, l *clade.Lineage, u *clade.Usage) error {
	out := bufio.NewWriter(w)
	for _, root := range forest(l, u) {
		root.write(out, "", "")
	}
	return out.Flush()
}

// write draws a twig and all above it. first begins its line, rest the lines below.
func (t *twig) write(out *bufio.Writer, first, rest string) {
	out.WriteString(first)
	out.WriteString(printable(t.line()))
	out.WriteByte('\n')
	for i, one := range t.above {
		if i == len(t.above)-1 {
			one.write(out, rest+"└─ ", rest+"   ")
		} else {
			one.write(out, rest+"├─ ", rest+"│  ")
		}
	}
}

// sized tells whether the twig takes something itself: templates and snapshots take
// layers.
func (t *twig) sized() bool { return t.kind != "template" && t.kind != "snapshot" }

func (t *twig) line() string {
	switch t.kind {
	case "template":
		return "template " + t.name
	case "warm":
		return fmt.Sprintf("warm template %s   %v", t.name, t.bytes)
	case "snapshot":
		return "snapshot " + t.name + " " + t.note
	case "layer":
		line := fmt.Sprintf("layer %s   %v   %s", t.name, t.bytes, t.note)
		if len(t.above) == 0 {
			line += "   nothing rests on it"
		}
		return line
	}
	return strings.TrimSpace(fmt.Sprintf("machine %s   %v   %s", t.name, t.bytes, t.note))
}
