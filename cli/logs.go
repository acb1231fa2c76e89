package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// lookAgain is how often a log that is followed is looked at.
const lookAgain = 300 * time.Millisecond

func (a *app) logsVerb() *cobra.Command {
	var qemu, follow bool
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a machine wrote on its console",
		Long: `Logs prints what the machine wrote on its serial console since it was started, or
what QEMU had to say. On a terminal, what would steer the terminal is left out.`,
		Example: `  clade logs web-1
  clade logs web-1 --follow
  clade logs web-1 --qemu`,
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.completeMachine,
	}
	cmd.Flags().BoolVar(&qemu, "qemu", false, "QEMU's own messages")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the machine stops")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, s, err := a.openFor(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		which := "console"
		if qemu {
			which = "qemu"
		}
		log, err := s.Log(cmd.Context(), name, which)
		if err != nil {
			return err
		}
		defer log.Close()
		if err := a.printLog(log); err != nil || !follow {
			return err
		}
		return a.followLog(cmd.Context(), s, name, log)
	}
	return cmd
}

// printLog copies a log up to its end as it is now.
func (a *app) printLog(log io.Reader) error {
	if _, ok := terminal(a.env.Out); !ok {
		_, err := io.Copy(a.env.Out, log)
		return err
	}
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if _, err := io.WriteString(a.env.Out, harmless(line)); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// followLog prints what is added until the machine has stopped or ctx ends.
func (a *app) followLog(ctx context.Context, s clade.Services, name clade.Name, log io.Reader) error {
	for {
		m, err := s.Machine(ctx, name)
		if err != nil && !errors.Is(err, clade.NotFound) {
			return err
		}
		if err := a.printLog(log); err != nil || m == nil || m.State == clade.Stopped {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookAgain):
		}
	}
}
