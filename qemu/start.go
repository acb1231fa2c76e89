package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/hold"
)

// Start implements hypervisor.Driver. It makes p.Run (0700) where it is not
// there, and returns once QEMU has built the machine and answers.
func (d *Driver) Start(ctx context.Context, p hypervisor.Place, s hypervisor.Spec) error {
	if err := d.start(ctx, p, s); err != nil {
		on := "machine " + string(s.Name)
		if ctx.Err() != nil {
			return &clade.Error{Op: "start", On: on, Kind: clade.Timeout, Err: ctx.Err()}
		}
		return &clade.Error{Op: "start", On: on, Kind: clade.KindOf(err), Err: err}
	}
	return nil
}

func (d *Driver) start(ctx context.Context, p hypervisor.Place, s hypervisor.Spec) error {
	if err := check(p, s); err != nil {
		return err
	}
	binary, err := d.Binary()
	if err != nil {
		return err
	}
	lock, err := hold.Take(lockPath(p))
	if errors.Is(err, clade.Busy) {
		return &clade.Error{Kind: clade.Busy, Err: errors.New("it runs already")}
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := checkFiles(s); err != nil {
		return err
	}
	code, err := firmware(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.Run, 0o700); err != nil {
		return fileError("make", "run directory", err)
	}
	cmd := exec.Command(binary, Args(p, s, code)...)
	cmd.Dir = "/" // the machine must not keep the caller's directory busy
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	if s.NIC != nil && s.NIC.Bridge != "" {
		tap, err := d.tap(ctx, s.NIC.Bridge)
		if err != nil {
			return err
		}
		defer tap.Close()
		cmd.ExtraFiles = []*os.File{tap}
	}
	return d.launch(ctx, p, lock, cmd, s.Memory)
}

// launch starts QEMU and waits for it. Where that fails nothing runs, and the
// machine is one that did not start.
func (d *Driver) launch(ctx context.Context, p hypervisor.Place, lock *hold.Lock, cmd *exec.Cmd, m *hypervisor.Memory) error {
	log, err := prepare(p)
	if err != nil {
		return fileError("prepare", p.Dir, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	process, err := lock.Start(cmd)
	if err != nil {
		return err
	}
	d.log.Debug("started", "program", cmd.Path, "args", cmd.Args[1:], "pid", process.PID)
	err = d.answered(ctx, p, process)
	if err == nil && m != nil && m.State != "" {
		err = resume(ctx, p, *m)
	}
	if err != nil {
		process.Kill()
		if err := os.Remove(filepath.Join(p.Dir, eventsOut)); err != nil {
			return fileError("clean", p.Dir, err)
		}
		return err
	}
	return nil
}

// prepare puts the files in place that a run of QEMU begins with, keeps the logs
// of the run before, and returns the log of this one.
func prepare(p hypervisor.Place) (*os.File, error) {
	for _, name := range []string{qemuLog, consoleLog} {
		path := filepath.Join(p.Dir, name)
		if err := os.Rename(path, path+previousExt); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	for name, content := range map[string]string{
		eventsIn:   `{"execute": "qmp_capabilities"}` + "\n",
		eventsOut:  "",
		consoleLog: "", // QEMU would make it readable for others
	} {
		if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(filepath.Join(p.Dir, qemuLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

// answered returns once QEMU answers, or with the reason why it never will.
func (d *Driver) answered(ctx context.Context, p hypervisor.Place, process *hold.Process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		_, err := d.ask(ctx, p)
		for pause := time.Millisecond; err != nil && ctx.Err() == nil; pause = min(2*pause, 50*time.Millisecond) {
			time.Sleep(pause)
			_, err = d.ask(ctx, p)
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("wait for QEMU: %w", err)
		}
		return nil
	case <-process.Ended:
		cancel()
		<-answer
		return startFailure(p)
	}
}
