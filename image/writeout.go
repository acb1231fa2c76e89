package image

import (
	"os"

	"golang.org/x/sys/unix"
)

// A writeout has the kernel write a file to its disk while more of it is copied, so
// that the sync which ends an operation finds little left to do, and takes the memory
// back that held it: the next stretch has it, and what others have in the page cache
// stays. It promises nothing: what fails is for that sync to tell.
type writeout struct {
	begun, end int64 // of what was copied and is not yet handed over
	stretches  chan [2]int64
	done       chan struct{}
}

// writeStep is how much is written out at once.
const writeStep = 8 << 20

func startWriteout(to *os.File) *writeout {
	w := &writeout{stretches: make(chan [2]int64, 4), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		var last [2]int64
		for s := range w.stretches {
			_ = unix.SyncFileRange(int(to.Fd()), s[0], s[1]-s[0], unix.SYNC_FILE_RANGE_WRITE)
			forget(to, last)
			last = s
		}
	}()
	return w
}

// forget waits until a stretch is on its disk, and drops it from the page cache.
func forget(f *os.File, s [2]int64) {
	if n := s[1] - s[0]; n > 0 {
		_ = unix.SyncFileRange(int(f.Fd()), s[0], n, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		_ = unix.Fadvise(int(f.Fd()), s[0], n, unix.FADV_DONTNEED)
	}
}

// copied says that everything up to end has been copied.
func (w *writeout) copied(end int64) {
	if w.end = end; w.end-w.begun >= writeStep {
		w.hand()
	}
}

func (w *writeout) hand() {
	w.stretches <- [2]int64{w.begun, w.end}
	w.begun = w.end
}

// stop hands over the rest and waits until all writing has begun.
func (w *writeout) stop() {
	if w.end > w.begun {
		w.hand()
	}
	close(w.stretches)
	<-w.done
}
