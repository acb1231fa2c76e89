package vswitch

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// refresh is how often the switch asks which machines run without being poked: to
// notice those that ended, and to connect again those it lost.
const refresh = 2 * time.Second

// Run is the switch of one network. It serves until ctx ends, Stop is called or no
// machine has run for the plan's idle time, and then returns nil.
//
// It asks ports which machines of the network run: at the start, when poked, and
// every two seconds; connects those new and drops those gone. control is the path
// of its Unix socket, at most 107 bytes, in a directory that is made if need be,
// for the user alone; control with .lock at its end is the lock that says it runs.
// Both are gone when Run has returned, and what a killed switch left is no obstacle.
//
// The errors are of kind Busy if the network's switch runs already, Invalid for a
// plan that cannot be, Denied or NoSpace for the socket. Machines that cannot be
// connected are tried again, and said by Poke and Status.
func Run(ctx context.Context, plan Plan, ports func(context.Context) ([]Port, error), control string, log *slog.Logger) error {
	plan, err := plan.checked()
	if err != nil {
		return err
	}
	lock, err := acquire(control)
	if err != nil {
		return err
	}
	defer release(control, lock)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := newSegment(plan, ports, log)
	if err != nil {
		return trouble("run", control, err)
	}
	defer s.close()
	listener, err := listen(ctx, control)
	if err != nil {
		return trouble("run", control, err)
	}
	server := newServer(s, stop, log)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("control socket failed", "error", err)
			stop()
		}
	})
	defer serving.Wait()
	defer server.Close() // removes the socket too
	log.Info("switch runs", "network", plan.Network, "subnet", plan.Subnet, "nat", plan.NAT, "pid", os.Getpid())
	s.loop(ctx)
	log.Info("switch ends", "network", plan.Network)
	return nil
}

// loop keeps the ports up to date until ctx ends or the segment is unused for the
// idle time.
func (s *segment) loop(ctx context.Context) {
	tick := time.NewTicker(min(refresh, s.plan.Idle))
	defer tick.Stop()
	used := time.Now()
	for {
		unconnected, err := s.sync(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("machines unknown", "error", err)
		}
		for name, err := range unconnected {
			s.log.Warn("machine not connected", "machine", name, "error", err)
		}
		if s.inUse() {
			used = time.Now()
		} else if time.Since(used) >= s.plan.Idle && s.endIfUnused() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// listen makes the control socket, of mode 0600 from its first moment, in place of
// one that a killed switch may have left. The lock must be held.
func listen(ctx context.Context, control string) (net.Listener, error) {
	if err := os.Remove(control); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	private := func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) }); err != nil {
			return err
		}
		return failed
	}
	return (&net.ListenConfig{Control: private}).Listen(ctx, "unix", control)
}
