package pool

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
)

// maxRoster bounds a roster, in persons.
const maxRoster = 10000

// headings are what the column with the persons may be called, by preference.
var headings = []string{"person", "name", "student", "login", "user", "email", "e-mail", "mail"}

// Roster reads the persons of a class from CSV, in their order: from the column that
// is called person, name, student, login, user or email, or else from the first one,
// where the file has no such heading. Commas, semicolons and tabs may separate. What
// appears twice is an error, as is what no person is called. Kind Invalid.
func Roster(data []byte) ([]string, error) {
	bad := func(format string, args ...any) ([]string, error) {
		return nil, &clade.Error{Op: "read", On: "roster", Kind: clade.Invalid, Err: fmt.Errorf(format, args...),
			Hint: "give a CSV file with a column \"name\", or one person a line"}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma, r.FieldsPerRecord, r.TrimLeadingSpace = separator(data), -1, true
	var persons []string
	column := -1
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bad("%w", err)
		}
		if column < 0 {
			var heading bool
			if column, heading = find(row); heading {
				continue
			}
		}
		line, _ := r.FieldPos(0)
		if column >= len(row) || strings.TrimSpace(row[column]) == "" {
			if strings.TrimSpace(strings.Join(row, "")) == "" {
				continue
			}
			return bad("line %d names nobody", line)
		}
		person := strings.TrimSpace(row[column])
		if err := CheckPerson(person); err != nil {
			return bad("line %d: %w", line, err)
		}
		if slices.Contains(persons, person) {
			return bad("line %d names %s again", line, person)
		}
		if persons = append(persons, person); len(persons) > maxRoster {
			return bad("it has more than %d persons", maxRoster)
		}
	}
	if len(persons) == 0 {
		return bad("it names nobody")
	}
	return persons, nil
}

// find returns the column with the persons, and whether row is a heading.
func find(row []string) (column int, heading bool) {
	for _, h := range headings {
		for i, cell := range row {
			if strings.EqualFold(strings.TrimSpace(cell), h) {
				return i, true
			}
		}
	}
	return 0, false
}

// separator is the one that the first line has most of.
func separator(data []byte) rune {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	best, most := ',', 0
	for _, c := range ",;\t" {
		if n := bytes.Count(line, []byte(string(c))); n > most {
			best, most = c, n
		}
	}
	return best
}
