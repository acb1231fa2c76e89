package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
)

// number is the place of the number in a pattern of names: {n} or {n:03}.
var number = regexp.MustCompile(`\{n(?::0([1-9]))?\}`)

// maxClones is how many clones one command makes at most.
const maxClones = 10000

// expand returns the names of a pattern for the numbers 1 to count: web-{n:03}
// gives web-001, web-002 and so on. Kind Invalid for anything that would not
// give so many different names.
func expand(pattern string, count int) ([]clade.Name, error) {
	invalid := func(hint, format string, args ...any) ([]clade.Name, error) {
		return nil, &clade.Error{Op: "read", On: fmt.Sprintf("name pattern %.80q", pattern), Kind: clade.Invalid,
			Err: fmt.Errorf(format, args...), Hint: hint}
	}
	if count < 1 || count > maxClones {
		return invalid("give -n a number in that range", "%d clones asked for, 1 to %d can be made at once", count, maxClones)
	}
	places := number.FindAllStringSubmatch(pattern, -1)
	if len(places) == 0 && count > 1 {
		return invalid("write the number as {n}, or {n:03} for three digits", "it has no {n}, and %d clones cannot share a name", count)
	}
	var names []clade.Name
	for n := 1; n <= count; n++ {
		name, err := clade.ParseName(number.ReplaceAllStringFunc(pattern, func(place string) string {
			width, _ := strconv.Atoi(strings.Trim(place, "{n:}"))
			return fmt.Sprintf("%0*d", width, n)
		}))
		if err != nil {
			return invalid("names have lower-case letters, digits and hyphens; the number is {n} or {n:03}", "%w", err)
		}
		names = append(names, name)
	}
	return names, nil
}
