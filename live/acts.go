package live

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/clade-vm/clade"
)

//go:embed mend.sh
var mendScript string

// An act is one line of what mend.sh does.
type act string

// newAct returns the act of that letter on a name, as mend.sh takes it, with a text.
func newAct(letter, name, text string) act {
	return act(letter + escaped(name) + "//" + escaped(text))
}

func makeDir(name string, perm fs.FileMode) act {
	return newAct("m", guestPath(name), fmt.Sprintf("%o", perm.Perm()))
}

func makeLink(name, target string) act { return newAct("l", guestPath(name), target) }

func remove(name string) act { return newAct("r", guestPath(name), "") }

// write returns the acts that make a file hold data; one that is not there gets the
// permissions perm. Several are needed for what is too long for a line.
func write(name string, perm fs.FileMode, data []byte) []act {
	text := fmt.Sprintf("%o//%s", perm.Perm(), data[:min(len(data), maxText)])
	acts := []act{newAct("w", guestPath(name), text)}
	for data = data[min(len(data), maxText):]; len(data) > 0; data = data[min(len(data), maxText):] {
		acts = append(acts, newAct("a", guestPath(name), string(data[:min(len(data), maxText)])))
	}
	return acts
}

const (
	maxText = 16 << 10  // bytes of one text, before they are escaped
	maxActs = 256 << 10 // bytes of acts in one command
)

// escaped returns text in one line for printf's %b.
func escaped(text string) string {
	var line strings.Builder
	for _, c := range []byte(text) {
		if c >= ' ' && c < 0x7f && c != '\\' {
			line.WriteByte(c)
		} else {
			fmt.Fprintf(&line, `\0%03o`, c)
		}
	}
	return line.String()
}

// do does acts in the guest, in their order. What the commands among them said on
// their standard error is returned. After an error some are done, and none that
// comes after one that is not.
func do(ctx context.Context, g Agent, acts []act) (said string, err error) {
	for len(acts) > 0 {
		var input []byte
		n := 0
		for n < len(acts) && (n == 0 || len(input)+len(acts[n]) < maxActs) {
			input = append(append(input, acts[n]...), '\n')
			n++
		}
		exit, err := execute(ctx, g, mendWait, clade.Command{Args: []string{"/bin/sh", "-c", mendScript, "clade", "/", ""}, Input: input})
		if err != nil {
			return said, err
		}
		if want := fmt.Sprintf("clade done %d", n); firstLine(exit.Out) != want {
			return said, unproven("the guest answers %.200q, not %q", firstLine(exit.Out), want)
		}
		said += firstLine(exit.Err)
		acts = acts[n:]
	}
	return said, nil
}
