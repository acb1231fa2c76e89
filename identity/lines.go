package identity

import (
	"io/fs"
	"regexp"
	"strings"
)

// lines is the way of marks that are lines of their own: those that re matches go,
// and its first group is the value.
func lines(re *regexp.Regexp) way { return linesOf(re, func(v string) string { return v }) }

// macLines is lines for MACs, which are written in either case.
func macLines(re *regexp.Regexp) way { return linesOf(re, strings.ToLower) }

// nameLines is lines for the machine's names: those that every machine may have
// stay.
func nameLines(re *regexp.Regexp) way {
	return linesOf(re, func(v string) string {
		if v = strings.ToLower(strings.Trim(v, `"'`)); generic(v) {
			return ""
		}
		return v
	})
}

// linesOf is the way of lines that re matches and for which value of its first
// group is not "".
func linesOf(re *regexp.Regexp, value func(string) string) way {
	of := func(line string) string {
		if m := re.FindStringSubmatch(line); m != nil {
			return value(m[1])
		}
		return ""
	}
	return edit{
		find: func(_ fs.FS, _, body string) []string {
			var values []string
			for line := range strings.Lines(body) {
				if v := of(line); v != "" {
					values = append(values, v)
				}
			}
			return values
		},
		fix: func(_ fs.FS, _, body string) (string, error) {
			var out strings.Builder
			for line := range strings.Lines(body) {
				if of(line) == "" {
					out.WriteString(line)
				}
			}
			return out.String(), nil
		},
	}
}
