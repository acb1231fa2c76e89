package appliance

import (
	"sync"
	"time"
)

// counter reads the processor's time stamp counter.
func counter() uint64

// ticks is the rate of the time stamp counter in kHz, measured over 10 ms.
//
// Under TCG the VM sees this very counter, and microvm has no other clock that
// the kernel could measure it by, except one that needs exact timing: on a busy
// computer every second boot hung for ever. So the kernel is told.
var ticks = sync.OnceValue(func() uint64 {
	began, first := time.Now(), counter()
	time.Sleep(10 * time.Millisecond)
	last, took := counter(), time.Since(began)
	return (last - first) * uint64(time.Millisecond) / uint64(took)
})
