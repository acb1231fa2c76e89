package recipe

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"github.com/clade-vm/clade"
)

// maxText bounds the text of a recipe, in bytes.
const maxText = 64 << 10

//go:embed builtin/*.yaml
var builtin embed.FS

// Builtin returns one of the recipes that clade brings along. The kind is
// NotFound when there is none of that name.
func Builtin(name string) (*Recipe, error) {
	if slices.Contains(Names(), name) {
		data, err := builtin.ReadFile("builtin/" + name + ".yaml")
		if err != nil {
			return nil, &clade.Error{Op: "read", On: "recipe " + name, Kind: clade.Internal, Err: err}
		}
		return Parse(data)
	}
	return nil, &clade.Error{Op: "find", On: fmt.Sprintf("recipe %.80q", name), Kind: clade.NotFound,
		Hint: "use one of " + strings.Join(Names(), ", ") + ", or the path of a recipe file"}
}

// Names returns the names of the built-in recipes, sorted.
func Names() []string {
	entries, err := builtin.ReadDir("builtin")
	if err != nil {
		panic("recipe: " + err.Error()) // the directory is part of the program
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Parse reads a recipe from YAML, sets what it leaves out to its default and
// validates it. Every error is of kind Invalid and says the line where it can.
func Parse(data []byte) (*Recipe, error) {
	if len(data) > maxText {
		return nil, invalid(0, "is larger than %v", clade.Bytes(maxText))
	}
	r := new(Recipe)
	err := yaml.UnmarshalWithOptions(data, r, yaml.Strict(), yaml.UseJSONUnmarshaler())
	if err != nil {
		return nil, syntax(data, err)
	}
	r.fill()
	if field, err := r.check(); err != nil {
		return nil, invalid(line(data, field), "%s: %w", field, err)
	}
	return r, nil
}

// syntax turns the decoder's error, which quotes the source over several lines,
// into one line with its place.
func syntax(data []byte, err error) error {
	if size, ok := errors.AsType[*clade.Error](err); ok { // clade.Bytes reads itself
		return invalid(line(data, "size"), "%w", size)
	}
	var placed yaml.Error
	if !errors.As(err, &placed) || placed.GetToken() == nil {
		return invalid(0, "%w", err)
	}
	return invalid(placed.GetToken().Position.Line, "%s", placed.GetMessage())
}

// line returns the line of a top-level field in a text that was decoded, or 0.
func line(data []byte, field string) int {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return 0
	}
	path, err := yaml.PathString("$." + field)
	if err != nil {
		return 0
	}
	node, err := path.FilterFile(file)
	if err != nil || node == nil {
		return 0
	}
	return node.GetToken().Position.Line
}

func invalid(line int, format string, args ...any) error {
	on := "recipe"
	if line > 0 {
		on = fmt.Sprintf("recipe line %d", line)
	}
	return &clade.Error{Op: "read", On: on, Kind: clade.Invalid, Err: fmt.Errorf(format, args...)}
}
