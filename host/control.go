package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor/hold"
	"github.com/clade-vm/clade/store"
)

const (
	// roundPause is how long the controller rests between two rounds.
	roundPause = time.Second
	// releasePause is how long it takes at most to see that a machine was released.
	releasePause = 100 * time.Millisecond
)

// A controller is one at work: it holds the home's control lock, which the kernel
// drops when its process ends, however that happens.
type controller struct {
	host *Host
	lock *hold.Lock

	mu    sync.Mutex
	asked map[string]time.Time // when a machine that is well was asked last
}

// takeControl returns nil where another controller works in this home.
func (h *Host) takeControl() (*controller, error) {
	l, err := hold.Take(h.path(controlLock))
	if errors.Is(err, clade.Busy) {
		return nil, nil
	}
	if err != nil {
		return nil, fileError("control", "home "+h.Dir, err)
	}
	return &controller{host: h, lock: l, asked: make(map[string]time.Time)}, nil
}

// Control keeps all pools what is wanted of them until ctx ends. While another
// controller works in this home it stands by. What it is in the midst of when it is
// killed, the next one does again. Chains that are too long it shortens, too.
func (h *Host) Control(ctx context.Context, p clade.Progress) error {
	c, err := h.takeControl()
	for c == nil && err == nil {
		p.Tell(clade.Event{Step: "stand by", Note: "another controller works in this home"})
		if !pause(ctx, roundPause) {
			return nil
		}
		c, err = h.takeControl()
	}
	if err != nil {
		return err
	}
	defer c.lock.Release()
	p.Tell(clade.Event{Step: "stand by", End: true})
	if err := h.restore(ctx); err != nil && ctx.Err() == nil {
		h.Config.Log.Error("what was left cannot be put right", "error", err)
	}
	var shortening sync.WaitGroup
	defer shortening.Wait()
	shortening.Go(func() { h.keepShort(ctx, p) })
	return c.all(ctx, p)
}

// all has a loop for each pool there is, so that one that waits holds up no other.
func (c *controller) all(ctx context.Context, p clade.Progress) error {
	var (
		mu      sync.Mutex
		kept    = make(map[clade.Name]bool)
		keeping sync.WaitGroup
	)
	defer keeping.Wait()
	for {
		pools, err := c.host.poolNames(ctx)
		if err != nil && ctx.Err() == nil {
			c.host.Config.Log.Error("the pools cannot be read", "error", err)
		}
		mu.Lock()
		for _, name := range pools {
			if kept[name] {
				continue
			}
			kept[name] = true
			keeping.Go(func() {
				c.keep(ctx, name, p)
				mu.Lock()
				defer mu.Unlock()
				delete(kept, name)
			})
		}
		mu.Unlock()
		if !pause(ctx, roundPause) {
			return nil
		}
	}
}

// keep goes on, round by round, until ctx ends or the pool is gone.
func (c *controller) keep(ctx context.Context, name clade.Name, p clade.Progress) {
	for {
		known := c.host.dueOf(ctx, name)
		r, err := c.round(ctx, name, p)
		if errors.Is(err, clade.NotFound) {
			return
		}
		if err != nil && ctx.Err() == nil {
			c.host.Config.Log.Error("pool", "pool", name, "error", err)
		}
		for i := 0; r != nil && i < len(r.Done); i++ {
			p.Tell(clade.Event{Step: fmt.Sprintf("pool %s: %s", name, r.Done[i]), End: true})
		}
		if !c.rest(ctx, name, known) {
			return
		}
	}
}

// rest waits for the next round, and tells whether ctx goes on. It comes sooner where
// something is due by now of machines other than those known, as of one that was
// released: the next person may be waiting for it.
func (c *controller) rest(ctx context.Context, name clade.Name, known map[string]bool) bool {
	for until := time.Now().Add(roundPause); time.Now().Before(until); {
		if !pause(ctx, releasePause) {
			return false
		}
		for id := range c.host.dueOf(ctx, name) {
			if !known[id] {
				return true
			}
		}
	}
	return ctx.Err() == nil
}

// dueOf returns the machines of a pool of which something is due.
func (h *Host) dueOf(ctx context.Context, name clade.Name) map[string]bool {
	due := make(map[string]bool)
	// What cannot be read now is read by the next round, which says why it cannot.
	_ = h.db.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Members(name)
		for _, m := range list {
			if m.Due != "" {
				due[m.Machine] = true
			}
		}
		return err
	})
	return due
}

// pause waits, and tells whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (h *Host) poolNames(ctx context.Context) (names []clade.Name, err error) {
	err = h.db.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Pools()
		for _, p := range list {
			names = append(names, p.Name)
		}
		return err
	})
	return names, err
}
