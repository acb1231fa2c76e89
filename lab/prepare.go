package lab

import (
	"context"
	"fmt"
	"strings"

	"github.com/clade-vm/clade"
)

// version is that of the template a run makes.
const version = "1"

// prepare is part 1: build and boot the master, see who it is, make a template.
// The master goes on running: freezing needs no stop.
func (r *run) prepare(ctx context.Context) error {
	err := r.step(1, "create a network without a way out", func() error {
		_, err := r.s.CreateNetwork(ctx, clade.NetworkSpec{Name: Network})
		r.network = err == nil
		return err
	})
	if err != nil {
		return err
	}
	err = r.step(1, "build the master from recipe "+r.o.Recipe, func() error {
		began := r.since()
		m, err := r.s.Build(ctx, clade.BuildSpec{Recipe: r.o.Recipe, Name: Parent,
			Options: clade.Options{Network: string(Network)}}, r.w.Progress)
		if err != nil {
			return err
		}
		r.add(m).Made = r.since() - began
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.measure(ctx, beforeBoot); err != nil {
		return err
	}
	if err := r.boot(ctx, 1, Parent); err != nil {
		return err
	}
	if err := r.read(ctx, 1, Parent); err != nil {
		return err
	}
	r.before = r.machines[Parent].Reading
	return r.makeTemplate(ctx)
}

func (r *run) makeTemplate(ctx context.Context) error {
	name, err := clade.ParseName(r.o.Recipe)
	if err != nil {
		name = "master" // the recipe is a file
	}
	ref := clade.Ref{Name: name, Version: version}
	act := "generalize and make template "
	if r.o.SkipGeneralize {
		act = "make template, without generalizing, "
	}
	var t *clade.Template
	err = r.step(1, act+ref.String(), func() (err error) {
		if err := r.sync(ctx, Parent); err != nil {
			return err
		}
		t, err = r.s.CreateTemplate(ctx, clade.TemplateSpec{Ref: ref, Machine: Parent, SkipGeneralize: r.o.SkipGeneralize}, r.w.Progress)
		return err
	})
	if err != nil {
		return err
	}
	r.template, r.report.Template = t.Ref(), t.Ref().String()
	if !r.o.SkipGeneralize {
		c := Check{Part: 1, Group: Sources, Name: "the template is generalized, and that is attested", OK: t.Generalized && len(t.Attestation) > 0}
		if !c.OK {
			c.Detail = "the template has no attestation"
		}
		r.check(c)
	}
	return nil
}

// boot starts a machine and waits until cloud-init is done in it.
func (r *run) boot(ctx context.Context, part int, name clade.Name) error {
	ctx, cancel := context.WithTimeout(ctx, r.o.Boot)
	defer cancel()
	return r.step(part, "boot "+string(name), func() error {
		began := r.since()
		if err := r.s.Start(ctx, name, clade.StartOptions{AcceptTwins: r.o.SkipGeneralize}, r.w.Progress); err != nil {
			return err
		}
		if err := r.s.Wait(ctx, name, clade.WhenCloudInit, r.w.Progress); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.machines[name].Boot = r.since() - began
		return nil
	})
}

// read asks the guest who it is.
func (r *run) read(ctx context.Context, part int, name clade.Name) error {
	return r.step(part, "read the identity of "+string(name), func() error {
		reading, err := r.s.Read(ctx, name)
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.machines[name].Reading = reading
		return nil
	})
}

// sync has the guest write what it holds in memory, so that disk usage is true.
func (r *run) sync(ctx context.Context, name clade.Name) error {
	_, err := r.guest(ctx, name, nil, "sync")
	return err
}

// guest runs a command in a guest and returns its output. A command that ends
// with another status than 0 is an error of kind Unsupported.
func (r *run) guest(ctx context.Context, name clade.Name, input []byte, args ...string) (string, error) {
	exit, err := r.s.Exec(ctx, name, clade.Command{Args: args, Input: input})
	if err != nil {
		return "", err
	}
	if exit.Status != 0 || exit.Signal != 0 {
		why := fmt.Errorf("it ended with status %d", exit.Status)
		if text := plain(string(exit.Err)); text != "" {
			why = fmt.Errorf("%w: %.200s", why, text)
		}
		return "", &clade.Error{Op: "run " + args[0] + " in", On: "machine " + string(name), Kind: clade.Unsupported, Err: why}
	}
	return string(exit.Out), nil
}

// plain makes guest text fit to be shown: one line, no control characters.
func plain(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?")))
}
