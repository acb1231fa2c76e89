package lab

import (
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/lineage"
)

// The measures of the picture, in its own units.
const (
	nodeWidth  = 240
	nodeHeight = 58
	gapAcross  = 52
	gapDown    = 18
	margin     = 8
)

// A picture is the tree of layers and machines, laid out from left to right.
type picture struct {
	Width, Height int
	Nodes         []node
	Edges         []edge
}

// A node is a box: a layer, a template or a machine.
type node struct {
	X, Y, W, H int
	Class      string
	Title      string
	Note       string
	Full       string // all of it, for those who point at it
}

// An edge is a curve from a node to one that rests on it.
type edge struct {
	Path string
}

// A drawing is a picture at work.
type drawing struct {
	*picture
	tree   *lineage.Tree
	layers map[string]*clade.Layer
	notes  map[clade.Name]string
	row    int
}

// draw lays out the lineage of a report; nil if there is none.
func draw(r *Report) *picture {
	if r.Lineage == nil {
		return nil
	}
	d := &drawing{picture: &picture{}, tree: lineage.New(r.Lineage), layers: map[string]*clade.Layer{}, notes: map[clade.Name]string{}}
	for _, l := range r.Lineage.Layers {
		d.layers[l.ID] = l
	}
	for _, m := range r.Machines {
		kind := "master"
		if m.Clone != "" {
			kind = string(m.Clone) + " clone"
		}
		own := m.After
		if own == 0 {
			own = m.Before
		}
		d.notes[m.Name] = fmt.Sprintf("%s, %v of its own", kind, own)
	}
	for _, root := range d.tree.Roots(r.Lineage) {
		d.layer(root.ID, 0)
	}
	for _, m := range r.Lineage.Machines {
		alone := true
		for _, disk := range m.Disks {
			alone = alone && disk.Layer == ""
		}
		if alone {
			d.place(0, d.leaf(), "machine alone", string(m.Name), d.notes[m.Name], "machine "+string(m.Name)+" rests on nothing")
		}
	}
	d.Height = max(d.row*(nodeHeight+gapDown)-gapDown, 0) + 2*margin
	d.Width += margin
	return d.picture
}

// leaf returns the height of the next line.
func (d *drawing) leaf() int {
	d.row++
	return margin + (d.row-1)*(nodeHeight+gapDown)
}

// layer places a layer in the middle of what rests on it and returns its height.
func (d *drawing) layer(id string, depth int) int {
	if depth > len(d.layers) {
		return d.leaf() // circular records
	}
	var above []int
	machines, templates := d.tree.On(id)
	for _, t := range templates {
		y := d.leaf()
		d.place(depth+1, y, "template", t, "template", "template "+t)
		above = append(above, y)
	}
	for _, m := range machines {
		y := d.leaf()
		d.place(depth+1, y, "machine", string(m), d.notes[m], "machine "+string(m))
		above = append(above, y)
	}
	for _, child := range d.tree.Children(id) {
		above = append(above, d.layer(child, depth+1))
	}
	if len(above) == 0 {
		above = []int{d.leaf()}
	}
	y := (above[0] + above[len(above)-1]) / 2
	l := d.layers[id]
	d.place(depth, y, "layer", l.Origin, fmt.Sprintf("layer %s, %v", short(id, 14), l.Allocated), l.Origin+"\nlayer "+id+"\n"+l.Digest)
	from := margin + depth*(nodeWidth+gapAcross) + nodeWidth
	for _, to := range above {
		if machines != nil || templates != nil || d.tree.Children(id) != nil {
			d.Edges = append(d.Edges, edge{Path: curve(from, y+nodeHeight/2, from+gapAcross, to+nodeHeight/2)})
		}
	}
	return y
}

func (d *drawing) place(depth, y int, class, title, note, full string) {
	x := margin + depth*(nodeWidth+gapAcross)
	d.Width = max(d.Width, x+nodeWidth)
	d.Nodes = append(d.Nodes, node{X: x, Y: y, W: nodeWidth, H: nodeHeight, Class: class,
		Title: short(plain(title), 28), Note: short(plain(note), 34), Full: full})
}

func curve(x1, y1, x2, y2 int) string {
	middle := (x1 + x2) / 2
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, middle, y1, middle, y2, x2, y2)
}

// short cuts a text to n characters.
func short(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
