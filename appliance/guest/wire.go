package guest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

// MaxFrame is the length in bytes of the longest frame of the protocol.
const MaxFrame = 16 << 20

// A Verb is what the host asks for.
type Verb string

// The verbs.
const (
	Greet      Verb = "greet"      // answer, and set the clock
	Generalize Verb = "generalize" // erase the marks and prove it
	Read       Verb = "read"       // read the identity of one machine
	Merge      Verb = "merge"      // carry over what a clone changed to a new version
	PowerOff   Verb = "power-off"  // answer, then end
)

// A Request is what the host sends. Replies carry its ID.
type Request struct {
	ID      uint64          `json:"id"`
	Verb    Verb            `json:"verb"`
	Time    int64           `json:"time,omitempty"`   // Greet: nanoseconds since 1970
	Disks   []string        `json:"disks,omitempty"`  // the serials of one machine's disks, by slot
	System  string          `json:"system,omitempty"` // which of several operating systems
	Extent  identity.Extent `json:"extent,omitempty"` // Read: how much of each mark
	Enable  []string        `json:"enable,omitempty"`
	Disable []string        `json:"disable,omitempty"`
	Trio    *Trio           `json:"trio,omitempty"` // Merge: the two others; Disks are the new version's
}

// A Reply is what the VM sends: any number with an Event, then one that is Last.
type Reply struct {
	ID     uint64          `json:"id"`
	Event  *clade.Event    `json:"event,omitempty"`
	Last   bool            `json:"last,omitempty"`
	Fault  *Fault          `json:"fault,omitempty"`
	Kernel string          `json:"kernel,omitempty"` // Greet: the release that runs
	Notes  []string        `json:"notes,omitempty"`  // what the user should know of the disks
	Result json.RawMessage `json:"result,omitempty"`
}

// A Fault is a clade.Error on its way through the port.
type Fault struct {
	Op   string     `json:"op,omitempty"`
	On   string     `json:"on,omitempty"`
	Kind clade.Kind `json:"kind"`
	Text string     `json:"text,omitempty"`
	Hint string     `json:"hint,omitempty"`
}

// WriteFrame sends v as JSON after its length, four bytes with the highest first.
func WriteFrame(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > MaxFrame {
		return fmt.Errorf("frame of %d bytes: more than %d", len(text), MaxFrame)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text)))
	_, err = w.Write(append(frame, text...))
	return err
}

// ReadFrame receives what WriteFrame sent. It is io.EOF where the stream ends
// between frames. Memory is taken as the bytes arrive, not as the length claims.
func ReadFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return fmt.Errorf("frame of %d bytes: more than %d", n, MaxFrame)
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(text) < int(n) {
		return io.ErrUnexpectedEOF
	}
	return json.Unmarshal(text, v)
}
