package cli

import (
	"fmt"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
	"github.com/spf13/cobra"
)

func (a *app) treeVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Draw what rests on what",
		Long: `Tree draws the lineage: layers, the layers, templates and machines that rest on
them, and what each takes on the disk. Machines that rest on nothing come last.`,
		Example: `  clade tree
  clade tree --json`,
		Args: nothing,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		l, err := s.Lineage(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			l.Layers, l.Templates, l.Machines = filled(l.Layers), filled(l.Templates), filled(l.Machines)
			l.Snapshots, l.Warm = filled(l.Snapshots), filled(l.Warm)
			return a.printJSON(l)
		}
		u, err := s.Usage(cmd.Context())
		if err != nil {
			return err
		}
		for _, line := range drawTree(l, u) {
			if err := a.print("%s", line); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// A forest is a lineage that is being drawn.
type forest struct {
	tree     *lineage.Tree
	layers   map[string]*clade.Layer
	sizes    map[string]clade.Bytes // of layers by id
	heads    map[clade.Name]clade.Bytes
	machines map[clade.Name]*clade.Machine
	lines    []string
}

// drawTree returns the lines of the picture.
func drawTree(l *clade.Lineage, u *clade.Usage) []string {
	f := &forest{tree: lineage.New(l), layers: map[string]*clade.Layer{}, sizes: map[string]clade.Bytes{},
		heads: map[clade.Name]clade.Bytes{}, machines: map[clade.Name]*clade.Machine{}}
	for _, layer := range u.Layers {
		f.sizes[layer.ID] = layer.Allocated
	}
	for _, m := range u.Machines {
		f.heads[m.Name] = m.Exclusive
	}
	for _, layer := range l.Layers {
		f.layers[layer.ID] = layer
	}
	for _, m := range l.Machines {
		f.machines[m.Name] = m
	}
	for _, root := range f.tree.Roots(l) {
		f.layer(root.ID, "", "", 0)
	}
	for _, m := range l.Machines {
		if !rests(m) {
			f.lines = append(f.lines, f.machine(m.Name))
		}
	}
	return f.lines
}

func rests(m *clade.Machine) bool {
	for _, d := range m.Disks {
		if d.Layer != "" {
			return true
		}
	}
	return false
}

// layer draws a layer and all above it. first begins its line, rest the lines below.
func (f *forest) layer(id, first, rest string, depth int) {
	layer := f.layers[id]
	f.lines = append(f.lines, fmt.Sprintf("%slayer %s   %v   %s", first, id, f.sizes[id], layer.Origin))
	if depth > len(f.layers) {
		return // circular records
	}
	machines, templates := f.tree.On(id)
	children := f.tree.Children(id)
	snapshots := f.tree.SnapshotsOn(id)
	left := len(machines) + len(templates) + len(snapshots) + len(children)
	branch := func() (string, string) {
		if left--; left == 0 {
			return rest + "└─ ", rest + "   "
		}
		return rest + "├─ ", rest + "│  "
	}
	for _, t := range templates {
		begin, _ := branch()
		f.lines = append(f.lines, begin+"template "+t)
	}
	for _, s := range snapshots {
		begin, _ := branch()
		f.lines = append(f.lines, begin+"snapshot "+string(s.Name)+" of machine "+string(s.Machine))
	}
	for _, m := range machines {
		begin, _ := branch()
		f.lines = append(f.lines, begin+f.machine(m))
	}
	for _, child := range children {
		begin, below := branch()
		f.layer(child, begin, below, depth+1)
	}
}

func (f *forest) machine(name clade.Name) string {
	words := []string{"machine " + string(name), f.heads[name].String()}
	if m := f.machines[name]; m != nil && m.Clone != "" {
		words = append(words, string(m.Clone)+" clone of "+m.Source)
	} else if m != nil && m.Source != "" {
		words = append(words, "from "+m.Source)
	}
	return strings.Join(words, "   ")
}
