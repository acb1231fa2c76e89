package host_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/hypervisor/fake"
)

// A stubborn driver's guests power off only when they are let go.
type stubborn struct {
	bareStream
	asked, letGo chan struct{}
}

func (d stubborn) Stop(ctx context.Context, p hypervisor.Place) error {
	d.asked <- struct{}{}
	<-d.letGo
	return d.bareStream.Stop(ctx, p)
}

// A pool that waits for a guest to power off holds up no other.
func TestPoolsDoNotWaitForOneAnother(t *testing.T) {
	t.Parallel()
	h, dir := pooled(t, clade.PoolSpec{Size: 1, Policy: clade.Reset})
	must(t, h, "template m") // t:2
	claim(t, h, "anna")
	c := config(dir)
	slow := stubborn{bareStream{fake.New()}, make(chan struct{}, 10), make(chan struct{})}
	c.Driver = slow
	controller, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	controlled, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(controller.Control(controlled, nil), controller.Close()) }()
	if _, err := h.UpdatePool(ctx, clade.PoolUpdate{Pool: "p", To: clade.Ref{Name: "t", Version: "2"}, Deadline: 1}); err != nil {
		t.Fatal(err)
	}
	<-slow.asked
	must(t, h, "pool q recreate")
	for {
		if p, err := h.Pool(ctx, "q"); err != nil || p.Ready == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if p := status(t, h); p.Members[0].Phase != clade.Updating {
		t.Errorf("anna's machine is %+v, and was not let go", p.Members[0])
	}
	close(slow.letGo)
	for status(t, h).Outdated > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
