package pool

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
)

// A Pattern is how the machines of a pool are called: lab-{n:02} gives lab-01, lab-02
// and so on.
type Pattern string

// number is the place of the number in a pattern: {n} or {n:03}.
var number = regexp.MustCompile(`\{n(?::0([1-9]))?\}`)

func (p Pattern) numbered() bool { return number.MatchString(string(p)) }

// name is the name of machine n. Kind Invalid.
func (p Pattern) name(n int) (clade.Name, error) {
	text := number.ReplaceAllStringFunc(string(p), func(place string) string {
		width, _ := strconv.Atoi(strings.Trim(place, "{n:}"))
		return fmt.Sprintf("%0*d", width, n)
	})
	name, err := clade.ParseName(text)
	if err != nil {
		return "", &clade.Error{Op: "read", On: fmt.Sprintf("name pattern %.80q", p), Kind: clade.Invalid, Err: err,
			Hint: "names have lower-case letters, digits and hyphens; the number is {n} or {n:03}"}
	}
	return name, nil
}

// Free returns the count lowest names of the pattern that are not taken.
func (p Pattern) Free(count int, taken func(clade.Name) bool) ([]clade.Name, error) {
	var names []clade.Name
	for n := 1; len(names) < count; n++ {
		name, err := p.name(n)
		if err != nil {
			return nil, err
		}
		if !taken(name) {
			names = append(names, name)
		}
		if !p.numbered() && len(names) < count {
			return nil, &clade.Error{Op: "read", On: fmt.Sprintf("name pattern %.80q", p), Kind: clade.Invalid,
				Err: fmt.Errorf("it has no number"), Hint: "write the number as {n} or {n:03}"}
		}
	}
	return names, nil
}
