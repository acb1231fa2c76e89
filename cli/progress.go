package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/clade-vm/clade"
	"golang.org/x/term"
)

const (
	redraw   = 100 * time.Millisecond
	barWidth = 24
	maxLines = 8           // steps shown at once
	keepFrom = time.Second // steps that took longer leave a line behind
)

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// bars shows events: on a terminal one moving line for each step at work, else
// one plain line for each new step. Its methods may be called at any time from
// several goroutines, and its zero width is 80 columns.
type bars struct {
	w     io.Writer
	live  bool
	width func() int

	mu      sync.Mutex // guards what follows
	steps   []*step    // at work, in the order of their beginning
	told    map[string]bool
	drawn   int // lines on the screen now
	frame   int
	stopped chan struct{} // ends the drawing; nil while nothing is drawn
	drawer  sync.WaitGroup
}

// A step is one thing at work.
type step struct {
	clade.Event
	began time.Time
}

func newBars(w io.Writer) *bars {
	b := &bars{w: w, told: map[string]bool{}, width: func() int { return 80 }}
	if f, ok := terminal(w); ok {
		b.live = true
		b.width = func() int {
			if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 20 {
				return columns
			}
			return 80
		}
	}
	return b
}

// tell is a clade.Progress.
func (b *bars) tell(e clade.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.live {
		if !b.told[e.Step] {
			fmt.Fprintln(b.w, printable(e.Step))
		}
		b.told[e.Step] = !e.End // a step that ended may come again
		return
	}
	at := -1
	for i, s := range b.steps {
		if s.Step == e.Step {
			at = i
		}
	}
	switch {
	case e.End && at < 0:
		return
	case e.End:
		took := time.Since(b.steps[at].began)
		b.steps = append(b.steps[:at], b.steps[at+1:]...)
		if took >= keepFrom {
			b.above(fmt.Sprintf("✓ %s (%.1f s)", printable(e.Step), took.Seconds()))
		}
	case at < 0:
		b.steps = append(b.steps, &step{Event: e, began: time.Now()})
	default:
		b.steps[at].Event = e
	}
	b.draw()
}

// draw starts the redrawing if it does not run.
func (b *bars) draw() {
	if b.stopped != nil {
		return
	}
	stopped := make(chan struct{})
	b.stopped = stopped
	b.drawer.Go(func() {
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-tick.C:
				b.mu.Lock()
				b.frame++
				b.paint()
				b.mu.Unlock()
			}
		}
	})
}

// stop takes the moving lines off the screen. More may be told afterwards.
func (b *bars) stop() {
	b.mu.Lock()
	stopped := b.stopped
	b.stopped = nil
	b.mu.Unlock()
	if stopped == nil {
		return
	}
	close(stopped)
	b.drawer.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps = nil
	b.erase()
}

// println writes a line that stays, above the moving ones.
func (b *bars) println(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.above(line)
}

func (b *bars) above(line string) {
	b.erase()
	fmt.Fprintln(b.w, line)
}

// erase removes the lines that paint drew.
func (b *bars) erase() {
	if b.drawn > 0 {
		fmt.Fprintf(b.w, "\x1b[%dA\r\x1b[J", b.drawn)
	}
	b.drawn = 0
}

func (b *bars) paint() {
	var lines []string
	for i, s := range b.steps {
		if i == maxLines {
			lines = append(lines, fmt.Sprintf("  and %d more", len(b.steps)-i))
			break
		}
		lines = append(lines, s.line(b.frame, b.width()-1))
	}
	b.erase()
	for _, line := range lines {
		fmt.Fprintln(b.w, line)
	}
	b.drawn = len(lines)
}

// line draws one step in at most width columns.
func (s *step) line(frame, width int) string {
	text := spinner[frame%len(spinner)] + " " + printable(s.Step)
	if s.Total > 0 {
		share := min(max(float64(s.Done)/float64(s.Total), 0), 1)
		full := int(share * barWidth)
		text += fmt.Sprintf("  %s%s %3.0f %%  %s", strings.Repeat("━", full), strings.Repeat("─", barWidth-full), share*100, s.amount())
	} else if s.Done > 0 {
		text += "  " + s.amount()
	}
	if took := time.Since(s.began); took >= keepFrom {
		text += fmt.Sprintf("  %.0f s", took.Seconds())
	}
	if s.Note != "" {
		text += "  " + printable(s.Note)
	}
	if runes := []rune(text); len(runes) > width {
		text = string(runes[:width-1]) + "…"
	}
	return text
}

// amount writes what is done, and of how much.
func (s *step) amount() string {
	write := func(n int64) string {
		if s.Unit == "B" {
			return clade.Bytes(n).String()
		}
		return strings.TrimSpace(fmt.Sprintf("%d %s", n, s.Unit))
	}
	if s.Total > 0 {
		return write(s.Done) + " of " + write(s.Total)
	}
	return write(s.Done)
}
