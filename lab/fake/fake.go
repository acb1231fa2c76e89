// Package fake is a home in memory: a small, real implementation of
// clade.Services on maps, for the tests of the faces.
//
// It keeps the promises that faces rely on: names are checked and taken once,
// kinds of error are the real ones, a clone of something that is not generalized
// is refused, a guest's marks travel with its disk, and what a machine writes only
// it sees. It starts no process. With a file it survives the process, so that
// scripts can run one command after another. Its knobs break a promise, so that a
// test can see who notices.
package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/clade-vm/clade"
)

// Knobs break promises. The zero value keeps them all.
type Knobs struct {
	Unreachable clade.Name  `json:"unreachable,omitempty"` // this machine greets nobody
	Leak        bool        `json:"leak,omitempty"`        // what one machine writes, all see
	Rot         bool        `json:"rot,omitempty"`         // starting a machine changes the layers below it
	FailOn      string      `json:"fail_on,omitempty"`     // the named act ends with an error of kind Internal
	Full        clade.Bytes `json:"full,omitempty"`        // full clones larger than this find no space
}

// A guest is what lies on a machine's or a layer's disk.
type guest struct {
	MachineID string            `json:"machine_id"`
	Keys      []string          `json:"keys"`
	Instance  string            `json:"instance"`
	Files     map[string]string `json:"files"`
}

type state struct {
	Serial    int                              `json:"serial"`
	Machines  map[clade.Name]*clade.Machine    `json:"machines"`
	Templates []*clade.Template                `json:"templates"`
	Layers    []*clade.Layer                   `json:"layers"`
	Snapshots []*clade.Snapshot                `json:"snapshots"`
	Warm      []*clade.Warm                    `json:"warm"`
	Networks  map[clade.Name]*clade.Network    `json:"networks"`
	Pools     map[clade.Name]*pooled           `json:"pools"`
	Guests    map[string]*guest                `json:"guests"` // by the id of a machine or layer
	Heads     map[clade.Name]clade.Bytes       `json:"heads"`
	Logs      map[clade.Name]map[string]string `json:"logs"`
	Rotten    map[string]bool                  `json:"rotten"`
	Knobs     Knobs                            `json:"knobs"`
}

// Home is the fake. Make one with New or Open. It is safe for concurrent use.
type Home struct {
	mu   sync.Mutex
	file string
	s    state
}

var _ clade.Services = (*Home)(nil)

// New returns an empty home with the given knobs turned.
func New(k Knobs) *Home {
	return &Home{s: state{
		Machines: map[clade.Name]*clade.Machine{},
		Networks: map[clade.Name]*clade.Network{
			"default": {Name: "default", Subnet: "10.90.0.0/24", Gateway: "10.90.0.1", NAT: true, Machines: []clade.Name{}, Created: epoch},
		},
		Pools:  map[clade.Name]*pooled{},
		Guests: map[string]*guest{}, Heads: map[clade.Name]clade.Bytes{},
		Logs: map[clade.Name]map[string]string{}, Rotten: map[string]bool{}, Knobs: k,
	}}
}

// Open returns the home kept in file, or a new one that will be kept there. The
// file may hold no more than {"knobs": {...}}.
func Open(file string) (*Home, error) {
	h := New(Knobs{})
	h.file = file
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	return h, json.Unmarshal(data, &h.s)
}

// Close keeps the home in its file, if it has one.
func (h *Home) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file == "" {
		return nil
	}
	data, err := json.MarshalIndent(h.s, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(h.file, data, 0o600)
}

// epoch is when everything in a fake home was made, so that outputs can be compared.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (h *Home) next() int {
	h.s.Serial++
	return h.s.Serial
}

func fail(op, on string, kind clade.Kind, hint, format string, args ...any) error {
	return &clade.Error{Op: op, On: on, Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// may returns the error the knobs ask for.
func (h *Home) may(ctx context.Context, act string) error {
	if err := ctx.Err(); err != nil {
		return &clade.Error{Op: act, Kind: clade.Timeout, Err: err}
	}
	if h.s.Knobs.FailOn == act {
		return fail(act, "everything", clade.Internal, "turn the knob back", "the knob says so")
	}
	return nil
}

func (h *Home) machine(op string, name clade.Name) (*clade.Machine, error) {
	m, ok := h.s.Machines[name]
	if !ok {
		return nil, fail(op, "machine "+string(name), clade.NotFound, "clade ls shows what there is", "no machine has this name")
	}
	return m, nil
}

func (h *Home) running(op string, name clade.Name) (*clade.Machine, error) {
	m, err := h.machine(op, name)
	if err != nil {
		return nil, err
	}
	if m.State != clade.Running {
		return nil, &clade.Error{Op: op, On: "machine " + string(name), Kind: clade.NotRunning, Hint: "start it first: clade start " + string(name)}
	}
	return m, nil
}
