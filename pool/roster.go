package pool

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/clade-vm/clade"
)

// maxRoster bounds a roster, in persons.
const maxRoster = 10000

// headings are what the column with the persons may be called, by preference.
var headings = []string{"person", "name", "student", "login", "user", "email", "e-mail", "mail"}

// Roster reads the persons of a class from CSV, in their order: from the columns with
// these headings, with a space between them; where none is given from the one that is
// called person, name, student, login, user or email, or else from the first one, where
// the file has no such heading. Commas, semicolons and tabs may separate. Who appears
// twice is an error, as is what no person is called. Kind Invalid.
func Roster(data []byte, columns ...string) ([]string, error) {
	bad := func(format string, args ...any) ([]string, error) {
		return nil, &clade.Error{Op: "read", On: "roster", Kind: clade.Invalid, Err: fmt.Errorf(format, args...),
			Hint: "give a CSV file with a column \"name\", or one person a line; or say which columns: --column \"First name\" --column Surname"}
	}
	if !utf8.Valid(data) {
		return nil, &clade.Error{Op: "read", On: "roster", Kind: clade.Invalid, Err: errors.New("it is not written in UTF-8"),
			Hint: "save it again, as \"CSV UTF-8\""}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma, r.FieldsPerRecord, r.TrimLeadingSpace = separator(data), -1, true
	var persons []string
	seen := make(map[string]bool)
	var at []int // the columns
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bad("%w", err)
		}
		line, _ := r.FieldPos(0)
		if at == nil {
			var heading bool
			if at, heading = find(row, columns); at == nil {
				return bad("line %d has not all of the headings %q", line, columns)
			}
			if heading {
				continue
			}
		}
		person := called(row, at)
		if person == "" {
			if strings.TrimSpace(strings.Join(row, "")) == "" {
				continue
			}
			return bad("line %d names nobody", line)
		}
		if err := CheckPerson(person); err != nil {
			return bad("line %d: %w", line, err)
		}
		if seen[person] {
			return bad("line %d names %s again", line, person)
		}
		seen[person] = true
		if persons = append(persons, person); len(persons) > maxRoster {
			return bad("it has more than %d persons", maxRoster)
		}
	}
	if len(persons) == 0 {
		return bad("it names nobody")
	}
	return persons, nil
}

// called joins what stands in the columns of a row; "" where nothing does.
func called(row []string, columns []int) string {
	var parts []string
	for _, c := range columns {
		if c < len(row) && strings.TrimSpace(row[c]) != "" {
			parts = append(parts, strings.TrimSpace(row[c]))
		}
	}
	return strings.Join(parts, " ")
}

// find returns the columns with the persons, and whether row is a heading. Where wanted
// ones are not in it, there are none.
func find(row, wanted []string) (columns []int, heading bool) {
	at := func(name string) int {
		return slices.IndexFunc(row, func(cell string) bool { return strings.EqualFold(strings.TrimSpace(cell), name) })
	}
	for _, name := range wanted {
		if at(name) < 0 {
			return nil, false
		}
		columns = append(columns, at(name))
	}
	if len(columns) > 0 {
		return columns, true
	}
	for _, h := range headings {
		if at(h) >= 0 {
			return []int{at(h)}, true
		}
	}
	return []int{0}, false
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
