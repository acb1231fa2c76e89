package qmp

import (
	"encoding/json"
	"fmt"
	"time"
)

// request is a command on the wire.
type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id"`
}

// message is anything QEMU says; which fields are set tells what it is.
type message struct {
	Greeting *struct {
		Version struct {
			QEMU struct {
				Major int `json:"major"`
				Minor int `json:"minor"`
				Micro int `json:"micro"`
			} `json:"qemu"`
		} `json:"version"`
	} `json:"QMP"`
	ID        *uint64         `json:"id"`
	Return    json.RawMessage `json:"return"`
	Error     *Error          `json:"error"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// decode reads one line. What it returns shares no memory with line.
func decode(line []byte) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return m, nil
}

func (m message) event() Event {
	at := time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000)
	return Event{Name: m.Event, Data: m.Data, Time: at}
}

// ParseEvent reads one line of a log that QEMU kept of a monitor. It is false for
// lines that are no event.
func ParseEvent(line []byte) (Event, bool) {
	m, err := decode(line)
	return m.event(), err == nil && m.Event != ""
}
