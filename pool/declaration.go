package pool

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/goccy/go-yaml"
)

// maxText bounds the text of a declaration, in bytes.
const maxText = 1 << 20

// Schema is the JSON schema of a declaration, for editors.
//
//go:embed schema.json
var Schema []byte

// Declarations reads pools from YAML, one a document, with defaults filled in. Unknown
// fields are refused. Every error is of kind Invalid.
func Declarations(data []byte) ([]clade.PoolSpec, error) {
	bad := func(err error) error {
		return &clade.Error{Op: "read", On: "declaration", Kind: clade.Invalid, Err: err, Hint: "clade pool schema prints what may be in it"}
	}
	if len(data) > maxText {
		return nil, bad(fmt.Errorf("it is larger than %v", clade.Bytes(maxText)))
	}
	var specs []clade.PoolSpec
	for i, text := range documents(string(data)) {
		s, err := decode(text)
		if err != nil {
			return nil, bad(syntax(i, err))
		}
		s, err = Check(s)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(specs, func(other clade.PoolSpec) bool { return other.Name == s.Name }) {
			return nil, bad(fmt.Errorf("pool %s is declared twice", s.Name))
		}
		specs = append(specs, s)
	}
	if len(specs) == 0 {
		return nil, bad(errors.New("it declares nothing"))
	}
	return specs, nil
}

// decode reads one document. The decoder of YAML says in which line what is wrong, but
// takes half a machine for none, and a number for a text; that of JSON does not.
func decode(text string) (s clade.PoolSpec, err error) {
	if err := yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict(), yaml.UseJSONUnmarshaler()); err != nil {
		return s, err
	}
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return s, err
	}
	err = json.Unmarshal(data, &clade.PoolSpec{})
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return s, fmt.Errorf("%s does not take a %s", cmp.Or(wrong.Field, "a field"), wrong.Value)
	}
	return s, err
}

// documents splits a YAML stream; what has only comments is left out.
func documents(text string) []string {
	var all []string
	var current strings.Builder
	flush := func() {
		for line := range strings.Lines(current.String()) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				all = append(all, current.String())
				break
			}
		}
		current.Reset()
	}
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, " \t\r\n") == "---" {
			flush()
			continue
		}
		current.WriteString(line)
	}
	flush()
	return all
}

// syntax makes one line of the decoder's error, which quotes the source.
func syntax(document int, err error) error {
	where := ""
	if document > 0 {
		where = fmt.Sprintf("document %d: ", document+1)
	}
	if own, ok := errors.AsType[*clade.Error](err); ok {
		return fmt.Errorf("%s%w", where, own)
	}
	var placed yaml.Error
	if errors.As(err, &placed) && placed.GetToken() != nil {
		return fmt.Errorf("%sline %d: %s", where, placed.GetToken().Position.Line, placed.GetMessage())
	}
	return fmt.Errorf("%s%w", where, err)
}
