package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/clade-vm/clade"
)

// writeDot writes trees for Graphviz.
func writeDot(w io.Writer, l *clade.Lineage, u *clade.Usage) error {
	d := &dot{Writer: bufio.NewWriter(w)}
	d.WriteString(`digraph clade {
  rankdir=LR;
  bgcolor="transparent";
  node [fontname="sans-serif", fontsize=11, shape=box, style="rounded,filled", color="#00000000"];
  edge [color="#8a94a6", arrowhead=none];
`)
	for _, root := range forest(l, u) {
		d.add(root)
	}
	d.WriteString("}\n")
	return d.Flush()
}

// A dot is a graph that is being written.
type dot struct {
	*bufio.Writer
	nodes int
}

// add writes a twig and all above it and returns the name of its node.
func (d *dot) add(t *twig) string {
	d.nodes++
	name := fmt.Sprintf("n%d", d.nodes)
	label := []string{t.kind + " " + t.name}
	if t.sized() {
		label = append(label, t.bytes.String())
	}
	if t.note != "" {
		label = append(label, t.note)
	}
	for i := range label {
		label[i] = dotEscape(printable(label[i]))
	}
	fmt.Fprintf(d, "  %s [label=\"%s\", fillcolor=%q, tooltip=\"%s\"];\n", name, strings.Join(label, `\n`), dotColours[t.kind], label[0])
	for _, one := range t.above {
		fmt.Fprintf(d, "  %s -> %s;\n", name, d.add(one))
	}
	return name
}

var dotColours = map[string]string{"layer": "#d5deeb", "template": "#f6dca8", "snapshot": "#e3d3f2", "warm": "#f4c9c0", "machine": "#c5e6d0"}

// dotEscape makes text what stands between quotes in the language of Graphviz.
func dotEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}
