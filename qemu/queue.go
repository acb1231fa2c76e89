package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// queue waits for the turn at a socket that serves one connection at a time. The
// turn ends when the file is closed, or its process ends. It returns ctx's error
// when that ends first, and kind NotRunning when the machine does.
func queue(ctx context.Context, p hypervisor.Place, name string) (*os.File, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		turn, err := tryQueue(p, name)
		if !errors.Is(err, clade.Busy) {
			return turn, err
		}
		if err := running(p); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// tryQueue takes the turn at once or returns kind Busy.
func tryQueue(p hypervisor.Place, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(p.Run, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fileError("open", name, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, &clade.Error{Kind: clade.Busy, Err: errors.New("another command is connected to it")}
	}
	return nil, fileError("lock", name, err)
}
