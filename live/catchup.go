package live

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/clade-vm/clade"
)

//go:embed catchup.sh
var catchUpScript string

// catchUpWait bounds one command in the guest.
const catchUpWait = 30 * time.Second

// CatchUp tells a guest that goes on from a snapshot what time it is, and gives its
// kernel entropy: it keeps its identity, but not its future. Kinds: Unsupported,
// Unproven, Timeout, and the agent's.
func CatchUp(ctx context.Context, g Agent) error {
	entropy := make([]byte, entropySize)
	_, _ = rand.Read(entropy) // never fails: crypto/rand
	now := time.Now()
	orders := fmt.Sprintf("%d.%06d\n%s\n", now.Unix(), now.Nanosecond()/1000, hex.EncodeToString(entropy))
	exit, err := execute(ctx, g, catchUpWait, clade.Command{Args: []string{"/bin/sh", "-c", catchUpScript, "clade-catch-up"}, Input: []byte(orders)})
	if err == nil && firstLine(exit.Out) != "done" {
		err = unproven("the guest answers %.200q, not done", firstLine(exit.Out))
	}
	if err != nil {
		return explained("set the clock of", err)
	}
	return nil
}
