package live

import "context"

// A Mirror is a mirror, for tests that ask it as anybody may.
type Mirror struct{ *mirror }

func NewMirror(g Agent) Mirror { return Mirror{newMirror(g)} }

func (m Mirror) Settle(look func()) error {
	return m.settle(context.Background(), func() error { look(); return nil })
}

// What wakes have done in a guest's own languages.
var HandsPerl, HandsPython = handsPerl, handsPython
