// Command clade clones virtual machines on QEMU/KVM properly.
//
// It is also, when it is pid 1 of the appliance, that VM's init; and, under the
// hidden verb switch, the process of one user network.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance/guest"
	"github.com/clade-vm/clade/cli"
)

// seedless is set by the linker in the counter-proof of the lab's tests only: it
// makes instant clones twins.
var seedless string

func main() {
	if guest.Boots() {
		guest.Main()
	}
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	debug.SetGCPercent(300) // commands end soon: memory is cheaper than looking for garbage
	home, err := homeDir()
	if err != nil {
		fmt.Fprintf(os.Stderr, "clade: %v\nhint: %s\n", err, clade.HintOf(err))
		return 1
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("CLADE_DEBUG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cli.Run(ctx, os.Args[1:], cli.Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Home: home,
		Services: func(ctx context.Context, dir string) (clade.Services, error) {
			h, err := open(ctx, dir, log)
			if err != nil {
				return nil, err // not a typed nil
			}
			return h, nil
		},
		Switch: func(ctx context.Context, dir string, network clade.Name) error {
			h, err := open(ctx, dir, slog.New(slog.NewTextHandler(os.Stderr, nil)))
			if err != nil {
				return err
			}
			defer h.Close()
			return h.Switch(ctx, network)
		},
	})
}
