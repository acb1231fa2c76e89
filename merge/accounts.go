package merge

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The files of accounts, whose lines are records of names. They are merged all
// together or not at all.
var accounts = []string{"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid"}

// maxText is how long a file is that is merged by its lines.
const maxText = 1 << 20

// text reads a file that both sides changed, in all three trees. Only their content
// may differ.
func (c *comparison) text(at [3]place) (texts [3]string, err error) {
	for i, p := range at {
		if p.kind() != unix.S_IFREG || p.st.Size > maxText {
			return texts, errors.New("not a short file on all sides")
		}
		if same, err := c.attributes(at[old], p, old, i); err != nil || !same {
			return texts, errors.Join(err, errors.New("its owner or mode was changed"))
		}
		f, err := p.dir.Open(p.name)
		if err != nil {
			return texts, err
		}
		data, err := io.ReadAll(io.LimitReader(f, maxText))
		if err := errors.Join(err, f.Close()); err != nil {
			return texts, err
		}
		texts[i] = string(data)
	}
	return texts, nil
}

// A record is the line of one name, in its fields.
type record []string

func (r record) line() string { return strings.Join(r, ":") }

// records takes a file apart. What is no plain record, or is there twice, is an error.
func records(text string, fields int) (byName map[string]record, order []string, err error) {
	byName = map[string]record{}
	for line := range strings.Lines(text) {
		r := record(strings.Split(strings.TrimSuffix(line, "\n"), ":"))
		if len(r) != fields || r[0] == "" || strings.ContainsAny(r[0][:1], "+-#") || byName[r[0]] != nil {
			return nil, nil, errors.New("a line of it is no plain record")
		}
		byName[r[0]], order = r, append(order, r[0])
	}
	return byName, order, nil
}

// fieldsOf is how many fields the records of a file have, and which is a number
// that no two names may share: -1 for none.
func fieldsOf(name string) (fields, number int) {
	switch name {
	case "etc/passwd":
		return 7, 2
	case "etc/group":
		return 4, 2
	case "etc/shadow":
		return 9, -1
	case "etc/gshadow":
		return 4, -1
	}
	return 3, 1 // subordinate ids: ranges
}

// mergeRecords merges a file of accounts name by name: those of the new version,
// with what the clone changed. An error says why it cannot be merged.
func mergeRecords(name string, texts [3]string) (string, error) {
	fields, number := fieldsOf(name)
	var all [3]map[string]record
	var order []string
	for i, text := range []string{texts[next], texts[mine], texts[old]} {
		byName, names, err := records(text, fields)
		if err != nil {
			return "", err
		}
		all[[]int{next, mine, old}[i]] = byName
		order = append(order, names...)
	}
	var b strings.Builder
	taken := map[string]string{}
	done := map[string]bool{}
	for _, who := range order {
		if done[who] {
			continue
		}
		done[who] = true
		r, err := mergeRecord(name, all[old][who], all[mine][who], all[next][who])
		if err != nil {
			return "", fmt.Errorf("%s: %w", strconv.QuoteToASCII(who), err)
		}
		if r == nil {
			continue
		}
		if number >= 0 {
			other, is := taken[r[number]]
			_, before := all[old][other]
			if is && (!before || all[old][who] == nil) {
				return "", fmt.Errorf("%s and %s have the same number %s", strconv.QuoteToASCII(other), strconv.QuoteToASCII(who), strconv.QuoteToASCII(r[number]))
			}
			taken[r[number]] = who
		}
		b.WriteString(r.line() + "\n")
	}
	return b.String(), nil
}

// mergeRecord merges the records of one name; nil is none.
func mergeRecord(name string, b, c, t record) (record, error) {
	switch {
	case slices.Equal(b, c) || slices.Equal(c, t):
		return t, nil
	case slices.Equal(b, t):
		return c, nil
	case c == nil || t == nil:
		return nil, errors.New("one side removed it, and the other changed it")
	}
	last := len(c) - 1
	switch {
	case name == "etc/shadow" && slices.Equal(c[:2], t[:2]) && slices.Equal(c[3:], t[3:]): // but for the day
		return c, nil
	case (name == "etc/group" || name == "etc/gshadow") && slices.Equal(c[:last], t[:last]):
		var was string
		if b != nil {
			was = b[last]
		}
		merged := slices.Clone(t)
		merged[last] = strings.Join(mergeSet(strings.Split(was, ","), strings.Split(c[last], ","), strings.Split(t[last], ",")), ",")
		return merged, nil
	}
	return nil, errors.New("both sides changed it")
}

// mergeSet returns what t has, without what c took out of b, and with what it added.
func mergeSet(b, c, t []string) (merged []string) {
	for _, x := range slices.Concat(t, c) {
		removed := slices.Contains(b, x) && !slices.Contains(c, x)
		added := slices.Contains(t, x) || !slices.Contains(b, x)
		if x != "" && !removed && added && !slices.Contains(merged, x) {
			merged = append(merged, x)
		}
	}
	return merged
}

// mergeLines merges a file whose lines stand for themselves, in any order.
func mergeLines(texts [3]string) string {
	var lines [3][]string
	for i, text := range texts {
		lines[i] = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	return strings.Join(mergeSet(lines[old], lines[mine], lines[next]), "\n") + "\n"
}

// readAccounts merges the files of accounts that both sides changed, before they
// are met on the way. Where one of them cannot be, none is, and it says why.
func (c *comparison) readAccounts(roots [3]place) {
	c.texts, c.cannot = map[string]string{}, ""
	var etc [3]place
	for i, p := range roots {
		etc[i], _ = look(p.dir, "etc") // what is not there is no account
		if !etc[i].isDir() {
			return
		}
	}
	for _, name := range accounts {
		var at [3]place
		for i, p := range etc {
			dir, err := p.open()
			if err != nil {
				return
			}
			defer dir.Close()
			if at[i], err = look(dir, strings.TrimPrefix(name, "etc/")); err != nil {
				return
			}
		}
		texts, err := c.text(at)
		if texts[old] == texts[mine] || texts[old] == texts[next] {
			continue
		}
		if err == nil {
			c.texts[name], err = mergeRecords(name, texts)
		}
		if err != nil && c.cannot == "" {
			c.cannot = fmt.Sprintf("/%s: %v", name, err)
		}
	}
	if c.cannot != "" {
		maps.DeleteFunc(c.texts, func(string, string) bool { return true })
	}
}
