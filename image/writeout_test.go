package image

import "testing"

// TestWriteout looks at which stretches are handed over while a file with holes is copied.
func TestWriteout(t *testing.T) {
	w := &writeout{stretches: make(chan [2]int64, 8), done: make(chan struct{})}
	close(w.done)
	for _, end := range []int64{writeStep - 1, writeStep, 3*writeStep + 5, 3*writeStep + 9} {
		w.copied(end)
	}
	w.stop()
	var at int64
	for s := range w.stretches {
		if s[0] != at || s[1] <= s[0] {
			t.Errorf("a stretch from %d to %d, want one from %d", s[0], s[1], at)
		}
		at = s[1]
	}
	if want := int64(3*writeStep + 9); at != want {
		t.Errorf("handed over up to %d, want %d", at, want)
	}
}
