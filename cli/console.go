package cli

import (
	"bytes"
	"io"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// escape leaves the console: ctrl-].
const escape = 0x1d

func (a *app) consoleVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "console NAME",
		Short: "Connect to a machine's serial console",
		Long: `Console connects the terminal to the machine's serial console. Ctrl-] leaves it.
The machine does not notice.`,
		Example:           `  clade console web-1`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completeMachine,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, s, err := a.openFor(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			console, err := s.Console(cmd.Context(), name)
			if err != nil {
				return err
			}
			defer console.Close()
			a.say("console of %s: ctrl-] leaves it", name)
			if f, ok := terminal(a.env.In); ok {
				state, err := term.MakeRaw(int(f.Fd()))
				if err != nil {
					return err
				}
				defer func() {
					_ = term.Restore(int(f.Fd()), state) // nothing can be done about it
					a.say("")
				}()
			}
			return a.attach(console)
		},
	}
}

// lastWords is how long the console's output is still shown after the escape key.
const lastWords = 50 * time.Millisecond

// attach connects the console until the machine or the user ends it. A read of
// standard input that is under way then is left behind: it ends with the process.
func (a *app) attach(console io.ReadWriteCloser) error {
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(a.env.Out, console)
		ended <- err
	}()
	go func() {
		left, err := typed(console, a.env.In)
		if left {
			time.Sleep(lastWords)
		}
		if left || err != nil {
			ended <- err
		} // the input's end is not the console's: its output is still wanted
	}()
	return <-ended
}

// typed copies what is typed, and tells whether the escape key ended it.
func typed(w io.Writer, r io.Reader) (left bool, err error) {
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		text, _, escaped := bytes.Cut(buf[:n], []byte{escape})
		if _, err := w.Write(text); err != nil {
			return false, err
		}
		switch {
		case escaped:
			return true, nil
		case err == io.EOF:
			return false, nil
		case err != nil:
			return false, err
		}
	}
}
