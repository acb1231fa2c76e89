package qemu

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qmp"
)

// streamPoll is how often a stream is asked how far it is.
const streamPoll = 200 * time.Millisecond

// A job is a background job as QEMU tells of it (query-jobs in the QMP reference).
type job struct {
	ID      string `json:"id"`
	Status  string `json:"status"` // "concluded" when it ended, in whatever way
	Current int64  `json:"current-progress"`
	Total   int64  `json:"total-progress"`
	Error   string `json:"error"`
}

// A streaming is the copying into one disk's head, and how far it is.
type streaming struct {
	slot  int
	id    string // of the job
	rest  hypervisor.Rest
	pace  clade.Bytes // a second at most, if not 0
	begun bool        // or found, where a caller that died began it
	tell  func(done, total int64)
}

// Stream implements hypervisor.Streamer: one disk after the other, each by a job
// of QEMU, which goes on when this process dies.
func (d *Driver) Stream(ctx context.Context, p hypervisor.Place, onto []hypervisor.Rest, pace clade.Bytes, tell func(done, total int64)) error {
	if err := running(p); err != nil {
		return err
	}
	for slot, rest := range onto {
		s := &streaming{slot: slot, id: "stream-" + diskName(slot), rest: rest, pace: pace, tell: tell}
		if err := s.run(ctx, p); err != nil {
			return talkError(p, "stream", diskName(slot), err)
		}
	}
	return nil
}

// run runs the job to its end, or ends it when ctx does.
func (s *streaming) run(ctx context.Context, p hypervisor.Place) error {
	for {
		more, err := s.look(ctx, p)
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), cancelJob(p, s.id))
		}
		if err != nil || !more {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(streamPoll):
		}
	}
}

// look looks at the job, and begins it where there is none. There is no more to do
// when the disk rests on what it shall. Also of a job that has ended it tells how far
// it came, since a short one ends between two looks.
func (s *streaming) look(ctx context.Context, p hypervisor.Place) (more bool, err error) {
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return false, err
	}
	defer c.Close()
	j, err := findJob(ctx, c, s.id)
	if err != nil {
		return false, err
	}
	if j != nil {
		s.tell(j.Current, j.Total)
	}
	switch {
	case j != nil && j.Status == "concluded":
		if err := c.Execute(ctx, "job-dismiss", object{"id": s.id}, nil); err != nil {
			return false, err
		}
		if s.begun {
			return false, streamFailure(j.Error)
		}
		return s.begin(ctx, c) // that of a caller who died: how the disk is now tells how it ended
	case j != nil && !s.begun:
		// Who began it and died may have had more time, or less. One that ends just now refuses.
		s.begun = true
		_ = c.Execute(ctx, "block-job-set-speed", object{"device": s.id, "speed": s.pace}, nil)
		return true, nil
	case j != nil:
		return true, nil
	case s.begun:
		return false, streamFailure("the job is gone, and nobody can tell how it ended")
	}
	return s.begin(ctx, c)
}

// begin begins the job, unless there is nothing to do.
func (s *streaming) begin(ctx context.Context, c *qmp.Client) (bool, error) {
	begin, err := streamBegin(ctx, c, s.slot, s.rest)
	if begin == nil || err != nil {
		return false, err
	}
	s.begun = true
	begin["job-id"], begin["speed"] = s.id, s.pace
	err = c.Execute(ctx, "block-stream", begin, nil)
	s.tell(0, 0)
	return true, err
}

// streamBegin returns how the job of a disk is begun; nil where there is nothing to do.
func streamBegin(ctx context.Context, c *qmp.Client, slot int, rest hypervisor.Rest) (object, error) {
	heads, err := headsOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if slot >= len(heads) {
		return nil, invalid(fmt.Sprintf("disk %d", slot), "there are %d", len(heads))
	}
	below, err := nodesBelow(ctx, c, heads[slot].node)
	if err != nil || len(below) == 0 || rest.Below == 1 {
		return nil, err
	}
	begin := object{"device": heads[slot].node, "on-error": "report", "auto-dismiss": false}
	if rest.Below > len(below) {
		return nil, invalid(fmt.Sprintf("disk %d", slot), "it rests on %d files, not on %d", len(below), rest.Below)
	}
	if err := mayCopyOnRead(ctx, c, heads[slot].node); err != nil {
		return nil, err
	}
	if rest.Below > 0 {
		begin["base-node"], begin["backing-file"] = below[rest.Below-1], rest.Name
	}
	return begin, nil
}

// streamFailure words how a job ended; "" is well.
func streamFailure(said string) error {
	if said == "" {
		return nil
	}
	e := &clade.Error{Kind: clade.Internal, Err: errors.New(said)}
	switch {
	case strings.Contains(said, "No space left"):
		e.Kind = clade.NoSpace
	case strings.Contains(said, "Input/output error"):
		e.Kind = clade.Corrupt
	}
	return e
}

func findJob(ctx context.Context, c *qmp.Client, id string) (*job, error) {
	var jobs []job
	if err := c.Execute(ctx, "query-jobs", nil, &jobs); err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if j.ID == id {
			return &j, nil
		}
	}
	return nil, nil
}

// mayCopyOnRead refuses to stream into an image with subclusters in a QEMU before
// 8.1: its copy-on-read reads past a subcluster and ends in an assertion
// (bdrv_co_do_copy_on_readv: skip_bytes < pnum), and the guest with it.
func mayCopyOnRead(ctx context.Context, c *qmp.Client, node string) error {
	var major, minor int
	_, _ = fmt.Sscanf(c.Version(), "%d.%d", &major, &minor)
	if major > 8 || major == 8 && minor >= 1 {
		return nil
	}
	var devices []struct {
		Inserted struct {
			Node  string `json:"node-name"`
			Image struct {
				Specific struct {
					Data struct {
						ExtendedL2 bool `json:"extended-l2"`
					} `json:"data"`
				} `json:"format-specific"`
			} `json:"image"`
		} `json:"inserted"`
	}
	if err := c.Execute(ctx, "query-block", nil, &devices); err != nil {
		return err
	}
	for _, d := range devices {
		if d.Inserted.Node == node && d.Inserted.Image.Specific.Data.ExtendedL2 {
			return &clade.Error{Kind: clade.Unsupported, Err: fmt.Errorf("QEMU %s would end the guest: it cannot copy into subclusters while that runs", c.Version()),
				Hint: "stop the machine first; or use QEMU 8.1 or newer"}
		}
	}
	return nil
}

// nodesBelow returns the block nodes that a node rests on, from the top down. Files'
// names do not tell: that of a head which was frozen while the machine ran is gone.
func nodesBelow(ctx context.Context, c *qmp.Client, node string) ([]string, error) {
	var graph struct {
		Nodes []struct {
			ID   int64  `json:"id"`
			Type string `json:"type"`
			Name string `json:"name"`
		} `json:"nodes"`
		Edges []struct {
			Parent int64  `json:"parent"`
			Child  int64  `json:"child"`
			Name   string `json:"name"`
		} `json:"edges"`
	}
	if err := c.Execute(ctx, "x-debug-query-block-graph", nil, &graph); err != nil {
		return nil, err
	}
	names, under := make(map[int64]string), make(map[int64]int64)
	at, found := int64(0), false
	for _, n := range graph.Nodes {
		if n.Type != "block-driver" {
			continue
		}
		names[n.ID] = n.Name
		if n.Name == node {
			at, found = n.ID, true
		}
	}
	if !found {
		return nil, fmt.Errorf("node %s is gone", node)
	}
	for _, e := range graph.Edges {
		if e.Name == "backing" {
			under[e.Parent] = e.Child
		}
	}
	var below []string
	for {
		next, more := under[at]
		if !more || len(below) > len(names) {
			return below, nil
		}
		below, at = append(below, names[next]), next
	}
}

// cancelJob ends a job whose caller gives up. What was copied stays.
func cancelJob(p hypervisor.Place, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
	defer cancel()
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Execute(ctx, "job-cancel", object{"id": id}, nil); err != nil {
		return err
	}
	for {
		j, err := findJob(ctx, c, id)
		if err != nil || j == nil {
			return err
		}
		if j.Status == "concluded" {
			return c.Execute(ctx, "job-dismiss", object{"id": id}, nil)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(streamPoll / 10):
		}
	}
}
