package guest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A section is a part of LVM's metadata text: values by name. A value is an
// int64, a string, a list of both as []any, or a section.
type section map[string]any

const (
	maxNesting = 8
	maxValues  = 100_000
)

// parseLVM reads the text in which LVM keeps its metadata.
func parseLVM(text string) (section, error) {
	p := lvmParser{rest: text}
	return p.section(0)
}

type lvmParser struct {
	rest   string
	values int
}

var errLVM = errors.New("LVM's metadata makes no sense")

// section reads up to the closing brace, or to the end at the top.
func (p *lvmParser) section(nesting int) (section, error) {
	s := section{}
	for {
		name := p.token()
		switch {
		case name == "" && nesting == 0, name == "}" && nesting > 0:
			return s, nil
		case name == "" || strings.ContainsAny(name[:1], "{}[]=,\""), nesting == maxNesting:
			return nil, fmt.Errorf("%w at %.20q", errLVM, name)
		}
		var err error
		switch sign := p.token(); sign {
		case "{":
			s[name], err = p.section(nesting + 1)
		case "=":
			s[name], err = p.value()
		default:
			return nil, fmt.Errorf("%w after %.40q", errLVM, name)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *lvmParser) value() (any, error) {
	p.values++
	if p.values > maxValues {
		return nil, fmt.Errorf("%w: more than %d values", errLVM, maxValues)
	}
	t := p.token()
	switch {
	case t == "[":
		return p.list()
	case strings.HasPrefix(t, `"`):
		return t[1:], nil
	}
	if n, err := strconv.ParseInt(t, 10, 64); err == nil {
		return n, nil
	}
	if _, err := strconv.ParseFloat(t, 64); err == nil {
		return t, nil
	}
	return nil, fmt.Errorf("%w at %.20q", errLVM, t)
}

func (p *lvmParser) list() (any, error) {
	list := []any{}
	for {
		save := p.rest
		switch p.token() {
		case "]":
			return list, nil
		case ",":
			continue
		}
		p.rest = save
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

// token returns the next word or sign, a string with its opening quote before
// it, and "" at the end.
func (p *lvmParser) token() string {
	for {
		p.rest = strings.TrimLeft(p.rest, " \t\r\n\x00")
		if !strings.HasPrefix(p.rest, "#") {
			break
		}
		_, p.rest, _ = strings.Cut(p.rest, "\n")
	}
	if p.rest == "" {
		return ""
	}
	if p.rest[0] == '"' {
		return p.quoted()
	}
	end := strings.IndexAny(p.rest, " \t\r\n\x00{}[]=,#\"")
	switch end {
	case -1:
		end = len(p.rest)
	case 0:
		end = 1
	}
	t := p.rest[:end]
	p.rest = p.rest[end:]
	return t
}

func (p *lvmParser) quoted() string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	p.rest = ""
	return b.String()
}

// sub returns a section inside, or nil.
func (s section) sub(name string) section {
	inner, _ := s[name].(section)
	return inner
}

// number returns a number of at least 0 inside.
func (s section) number(name string) (int64, error) {
	n, ok := s[name].(int64)
	if !ok || n < 0 || n > 1<<50 {
		return 0, fmt.Errorf("%w: %s", errLVM, name)
	}
	return n, nil
}
