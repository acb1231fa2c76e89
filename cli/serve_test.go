package cli_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/cli"
	"github.com/clade-vm/clade/lab/fake"
)

// TestServe: serve makes pools what is wanted of them, says what it does, and ends
// well when it is told to.
func TestServe(t *testing.T) {
	home := prepared(t, fake.Knobs{})
	if status, _, errs := run(t, home, "pool", "create", "lab", "--template", "debian-12:1", "--size", "2"); status != 0 {
		t.Fatal(errs)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		ended <- cli.Run(ctx, []string{"serve"}, cli.Env{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &errs,
			Services: func(context.Context, string) (clade.Services, error) { return unclosed{home}, nil }})
	}()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		p, err := home.Pool(ctx, "lab")
		if err != nil {
			t.Fatal(err)
		}
		if p.Ready == 2 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the pool is %+v", p)
		}
	}
	stop()
	if status := <-ended; status != 0 || !strings.Contains(errs.String(), "pool lab: make 2") {
		t.Errorf("serve ends with status %d and says %q", status, errs.String())
	}
}
