package cli

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"

	"github.com/clade-vm/clade"
)

// The measures of the picture, in its own units.
const (
	cardWidth  = 236
	cardHeight = 54
	cardAcross = 56 // between columns
	cardDown   = 12 // between cards
	cardGap    = 14 // more between trees
	svgMargin  = 20
	svgHead    = 84 // the title and what the colours mean
	barSpace   = cardWidth - 28
	mostDrawn  = 12 // machines on one layer that are drawn each; of more, the first are, and one for the rest
	alsoDrawn  = 6
)

//go:embed tree.svg.tmpl
var svgText string

// A chart is a forest laid out from left to right.
type chart struct {
	Width, Height int
	Title, Note   string
	Cards         []card
	Lines         []string // the paths of curves
	Legend        []legend
	rows          int
	gaps          int
	most          clade.Bytes
}

// A card is a box on the chart.
type card struct {
	X, Y                int
	Kind                string
	Title, Note, Amount string
	Bar                 int // how long the bar is that shows its size
	All                 string
}

type legend struct {
	X    int
	Kind string
	Text string
}

// writeSVG draws trees as a picture.
func writeSVG(w io.Writer, l *clade.Lineage, u *clade.Usage) error {
	c := &chart{Title: "What rests on what", Note: fmt.Sprintf("%s, %s and %s take %v; full copies would take %v",
		several(len(l.Machines), "machine"), several(len(l.Templates), "template"), several(len(l.Layers), "layer"), u.Allocated, u.FullCost)}
	roots := forest(l, u)
	for _, root := range roots {
		c.largest(root)
	}
	for i, root := range roots {
		if i > 0 && (len(root.above) > 0 || len(roots[i-1].above) > 0) {
			c.gaps++
		}
		c.place(root, 0)
	}
	for i, kind := range []string{"layer", "template", "warm", "snapshot", "machine"} {
		c.Legend = append(c.Legend, legend{svgMargin + i*92, kind, kind})
	}
	c.Width = max(c.Width, 3*cardWidth) + svgMargin
	c.Height = svgHead + c.rows*(cardHeight+cardDown) + c.gaps*cardGap + svgMargin
	t, err := template.New("tree").Parse(svgText)
	if err != nil {
		return err
	}
	return t.Execute(w, c)
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (c *chart) largest(t *twig) {
	c.most = max(c.most, t.bytes)
	for _, one := range t.above {
		c.largest(one)
	}
}

// place lays out a twig in the middle of what rests on it and returns its height.
func (c *chart) place(t *twig, depth int) int {
	var heights []int
	at := len(c.Cards)
	c.Cards = append(c.Cards, card{}) // what rests on it comes after it
	for _, one := range few(t.above) {
		heights = append(heights, c.place(one, depth+1))
	}
	y := 0
	if len(heights) == 0 {
		y = svgHead + c.rows*(cardHeight+cardDown) + c.gaps*cardGap
		c.rows++
	} else {
		y = (heights[0] + heights[len(heights)-1]) / 2
	}
	x := svgMargin + depth*(cardWidth+cardAcross)
	for _, to := range heights {
		from, middle := x+cardWidth, x+cardWidth+cardAcross/2
		c.Lines = append(c.Lines, fmt.Sprintf("M%d %dC%d %d %d %d %d %d", from, y+cardHeight/2, middle, y+cardHeight/2, middle, to+cardHeight/2, x+cardWidth+cardAcross, to+cardHeight/2))
	}
	c.Width = max(c.Width, x+cardWidth)
	c.Cards[at] = c.card(t, x, y)
	return y
}

func (c *chart) card(t *twig, x, y int) card {
	one := card{X: x, Y: y, Kind: t.kind, Title: cut(printable(t.name), 24), Note: cut(printable(t.note), 36), All: printable(t.line())}
	if t.sized() {
		one.Amount = t.bytes.String()
		// The root tells small from large where one is a thousand times the other.
		one.Bar = int(math.Ceil(math.Cbrt(float64(t.bytes)/float64(max(c.most, 1))) * barSpace))
	}
	if t.note == "" {
		one.Note = t.kind
	}
	return one
}

// few takes one twig for the many machines that rest on one layer.
func few(above []*twig) []*twig {
	machines := 0
	for _, t := range above {
		if t.kind == "machine" {
			machines++
		}
	}
	if machines <= mostDrawn {
		return above
	}
	var list []*twig
	rest := &twig{kind: "machine", name: fmt.Sprintf("and %d more", machines-alsoDrawn), note: "machines on the same layer"}
	seen := 0
	for _, t := range above {
		if t.kind == "machine" {
			if seen++; seen > alsoDrawn {
				if rest.bytes += t.bytes; seen == machines {
					list = append(list, rest)
				}
				continue
			}
		}
		list = append(list, t)
	}
	return list
}

// cut shortens a text to n characters.
func cut(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
