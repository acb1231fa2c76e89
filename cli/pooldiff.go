package cli

import (
	"encoding/json"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/pool"
)

// printApplied shows what a declaration changes: a line for each field, or of texts
// and lists the lines that differ.
func (a *app) printApplied(all []applied) error {
	var text strings.Builder
	for _, one := range all {
		text.WriteString("pool " + string(one.Pool) + ": " + one.Action + "\n")
		for _, d := range one.Changes {
			if one.Action == "create" {
				d.Old = ""
			}
			if d.Field != "name" {
				text.WriteString(difference(d))
			}
		}
	}
	a.bars.stop()
	_, err := a.env.Out.Write([]byte(text.String()))
	return err
}

// difference is one field that differs, as lines.
func difference(d pool.Difference) string {
	old, new := shown(d.Field, d.Old), shown(d.Field, d.New)
	mark := "~"
	switch {
	case d.Old == "":
		mark = "+"
	case d.New == "":
		mark = "-"
	}
	var b strings.Builder
	if len(old) <= 1 && len(new) <= 1 {
		b.WriteString(mark + " " + d.Field + ": " + strings.Join(append(old, new...), " -> ") + "\n")
		return b.String()
	}
	for len(old) > 0 && len(new) > 0 && old[0] == new[0] {
		old, new = old[1:], new[1:]
	}
	for len(old) > 0 && len(new) > 0 && old[len(old)-1] == new[len(new)-1] {
		old, new = old[:len(old)-1], new[:len(new)-1]
	}
	b.WriteString(mark + " " + d.Field + ":\n")
	for _, line := range old {
		b.WriteString("    - " + line + "\n")
	}
	for _, line := range new {
		b.WriteString("    + " + line + "\n")
	}
	return b.String()
}

// shown is a value for people, as lines: sizes with their unit, texts without quotes,
// lists with an element a line. What a terminal might obey stays as JSON writes it.
func shown(field, value string) []string {
	var lines []string
	var text string
	var size clade.Bytes
	switch {
	case value == "":
		return nil
	case json.Unmarshal([]byte(value), &text) == nil:
		lines = strings.Split(strings.TrimRight(text, "\n"), "\n")
	case json.Unmarshal([]byte(value), &lines) == nil:
	case sizes[field] && json.Unmarshal([]byte(value), &size) == nil:
		lines = []string{size.String()}
	}
	for _, line := range lines {
		if harmless(line) != line {
			return []string{value}
		}
	}
	if len(lines) == 0 {
		return []string{value}
	}
	return lines
}

// sizes are the fields that are.
var sizes = map[string]bool{"data_disk": true, "memory": true, "max_memory": true, "max_disk": true}
