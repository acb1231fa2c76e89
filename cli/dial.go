package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// dialVerb is for other programs, such as ssh's ProxyCommand.
func (a *app) dialVerb() *cobra.Command {
	return &cobra.Command{
		Use:     "dial NAME PORT",
		Short:   "Connect standard input and output to a port of a machine",
		Long:    `Dial connects standard input and output to a TCP port of a machine.`,
		Example: `  clade dial web-1 22`,
		Hidden:  true,
		Args:    takes(2, 2, "NAME and PORT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := clade.ParseName(args[0])
			if err != nil {
				return err
			}
			port, err := strconv.Atoi(args[1])
			if err != nil {
				return usage(cmd, "%.40q is no port", args[1])
			}
			s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			conn, err := s.Dial(cmd.Context(), name, port)
			if err != nil {
				return err
			}
			defer conn.Close()
			stop := context.AfterFunc(cmd.Context(), func() { _ = conn.Close() })
			defer stop()
			go func() { // ends with the input, or is left to the end of the process
				_, _ = io.Copy(conn, a.env.In)
				if half, ok := conn.(interface{ CloseWrite() error }); ok {
					_ = half.CloseWrite()
				}
			}()
			if _, err = io.Copy(a.env.Out, conn); errors.Is(err, net.ErrClosed) {
				return nil // ssh is done
			}
			return err
		},
	}
}

// switchVerb is how clade starts the process of a network's switch.
func (a *app) switchVerb() *cobra.Command {
	return &cobra.Command{
		Use:     "switch NETWORK",
		Short:   "Be the switch of a network",
		Long:    `Switch serves a network until its last machine is gone. clade starts it by itself.`,
		Example: `  clade switch default`,
		Hidden:  true,
		Args:    takes(1, 1, "NETWORK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := clade.ParseName(args[0])
			if err != nil {
				return err
			}
			return a.env.Switch(cmd.Context(), a.home, name)
		},
	}
}
