package lab

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/clade-vm/clade"
)

// The colours of a terminal.
const (
	green = "\x1b[32m"
	red   = "\x1b[31m"
	bold  = "\x1b[1m"
	reset = "\x1b[0m"
)

// Mark returns ✓ or ✗, coloured if the terminal shows colours.
func Mark(ok, colour bool) string {
	switch {
	case ok && colour:
		return green + "✓" + reset
	case ok:
		return "✓"
	case colour:
		return red + "✗" + reset
	}
	return "✗"
}

// WriteText writes the report for a terminal.
func WriteText(w io.Writer, r *Report, colour bool) error {
	var b bytes.Buffer
	heading := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if colour {
			text = bold + text + reset
		}
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	if len(r.Machines) > 0 {
		heading("The machines")
		writeMachines(&b, r)
	}
	for _, group := range r.groups() {
		heading("%s", strings.ToUpper(group[:1])+group[1:])
		for _, c := range r.in(group) {
			fmt.Fprintf(&b, "  %s %s\n", Mark(c.OK, colour), plain(c.Name))
			if c.Detail != "" {
				fmt.Fprintf(&b, "      %s\n", plain(c.Detail))
			}
		}
	}
	if len(r.Shared) > 0 {
		heading("What the machines share and should not")
		for _, s := range r.Shared {
			fmt.Fprintf(&b, "  %s of %s: %s\n", s.Mark, list(s.Machines), plain(s.Value))
		}
	}
	heading("%s %s", Mark(r.Verdict, false), r.Summary())
	_, err := w.Write(b.Bytes())
	return err
}

// Summary returns the verdict as one sentence.
func (r *Report) Summary() string {
	failed, all := len(r.Failed()), len(r.Checks)
	took := fmt.Sprintf(", %.0f s", r.Seconds)
	switch {
	case r.Problem != "" && failed > 0:
		return fmt.Sprintf("ended early; %d of the %d checks made do not hold%s", failed, all, took)
	case r.Problem != "":
		return fmt.Sprintf("ended early; the %d checks made hold%s", all, took)
	case failed > 0:
		return fmt.Sprintf("%d of %d checks do not hold%s", failed, all, took)
	}
	return fmt.Sprintf("all %d checks hold%s", all, took)
}

func writeMachines(b *bytes.Buffer, r *Report) {
	t := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	for _, row := range rows(r) {
		fmt.Fprint(t, "  ", row.Title)
		for _, cell := range row.Cells {
			fmt.Fprint(t, "\t", narrow(plain(cell)))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // a bytes.Buffer takes everything
}

// narrow keeps both ends of a long value, so that three fit side by side on a
// terminal. The JSON and the page have them whole.
func narrow(value string) string {
	if len(value) <= 24 {
		return value
	}
	return value[:15] + "…" + value[len(value)-8:]
}

// A row is one line of the table of machines, which lie side by side.
type row struct {
	Title  string
	Cells  []string
	Shared bool // the machines share it and should not
	Figure bool // numbers, not identity
}

// rows returns the table of machines, for all kinds of output.
func rows(r *Report) []row {
	shared := map[string]bool{}
	for _, s := range r.Shared {
		shared[s.Mark] = true
	}
	var all []row
	line := func(title string, figure bool, cell func(*Machine) string) {
		one := row{Title: title, Shared: shared[title], Figure: figure}
		for _, m := range r.Machines {
			one.Cells = append(one.Cells, cell(m))
		}
		all = append(all, one)
	}
	line("", false, func(m *Machine) string { return string(m.Name) })
	line("kind", false, func(m *Machine) string {
		if m.Clone == "" {
			return "master"
		}
		return string(m.Clone) + " clone"
	})
	for _, mark := range marks {
		line(mark.name, false, func(m *Machine) string {
			if m.Reading == nil {
				return "-"
			}
			return brief(mark.values(m.Reading))
		})
	}
	line("made in", true, func(m *Machine) string { return seconds(m.Made) })
	line("booted in", true, func(m *Machine) string { return seconds(m.Boot) })
	line("own bytes before boot", true, func(m *Machine) string { return m.Before.String() })
	line("own bytes after boot", true, func(m *Machine) string { return size(m.After) })
	line("rests on layers", true, func(m *Machine) string { return fmt.Sprint(len(m.RestsOn)) })
	return all
}

// brief shows the first of several values and how many more there are.
func brief(values []string) string {
	switch len(values) {
	case 0:
		return "-"
	case 1:
		return values[0]
	}
	return fmt.Sprintf("%s +%d", values[0], len(values)-1)
}

func seconds(s float64) string {
	switch {
	case s == 0:
		return "-"
	case s < 0.1:
		return fmt.Sprintf("%.1f ms", s*1e3)
	case s < 10:
		return fmt.Sprintf("%.2f s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}

func size(b clade.Bytes) string {
	if b == 0 {
		return "-"
	}
	return b.String()
}
