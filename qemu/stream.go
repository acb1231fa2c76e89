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

// Stream implements hypervisor.Streamer: one disk after the other, each by a job
// of QEMU, which goes on when this process dies.
func (d *Driver) Stream(ctx context.Context, p hypervisor.Place, tell func(done, total int64)) error {
	if err := running(p); err != nil {
		return err
	}
	heads, err := d.Heads(ctx, p)
	if err != nil {
		return err
	}
	for slot := range heads {
		if err := d.stream(ctx, p, slot, tell); err != nil {
			return talkError(p, "stream", diskName(slot), err)
		}
	}
	return nil
}

// stream runs the job of one disk to its end, or ends it when ctx does.
func (d *Driver) stream(ctx context.Context, p hypervisor.Place, slot int, tell func(done, total int64)) error {
	id := "stream-" + diskName(slot)
	begun := false
	for {
		j, err := d.streamJob(ctx, p, slot, id, &begun, tell)
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), cancelJob(p, id))
		}
		if err != nil {
			return err
		}
		if j == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(streamPoll):
		}
	}
}

// streamJob looks at the job of a disk, and begins it where there is none. It
// returns nil when the disk rests on nothing. Also of a job that has ended it tells
// how far it came, since a short one ends between two looks.
func (d *Driver) streamJob(ctx context.Context, p hypervisor.Place, slot int, id string, begun *bool, tell func(done, total int64)) (*job, error) {
	c, err := dial(ctx, p, controlSocket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	j, err := findJob(ctx, c, id)
	if err != nil {
		return nil, err
	}
	if j != nil {
		tell(j.Current, j.Total)
	}
	if j != nil && j.Status == "concluded" {
		if err := c.Execute(ctx, "job-dismiss", object{"id": id}, nil); err != nil {
			return nil, err
		}
		if *begun {
			return nil, streamFailure(j.Error)
		}
		j = nil // that of a caller who died: how the disk is now tells how it ended
	}
	if j != nil {
		*begun = true
		return j, nil
	}
	heads, err := headsOf(ctx, c)
	if err != nil {
		return nil, err
	}
	rests, err := restsOn(ctx, c, heads[slot].node)
	if err != nil || !rests {
		return nil, err
	}
	if *begun {
		return nil, streamFailure("the job is gone and the disk still rests on something")
	}
	*begun = true
	err = c.Execute(ctx, "block-stream", object{"job-id": id, "device": heads[slot].node, "on-error": "report", "auto-dismiss": false}, nil)
	tell(0, 0)
	return &job{ID: id}, err
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

// restsOn reports whether a block node has a file below it.
func restsOn(ctx context.Context, c *qmp.Client, node string) (bool, error) {
	var nodes []struct {
		Node    string `json:"node-name"`
		Backing string `json:"backing_file"`
	}
	if err := c.Execute(ctx, "query-named-block-nodes", object{"flat": true}, &nodes); err != nil {
		return false, err
	}
	for _, n := range nodes {
		if n.Node == node {
			return n.Backing != "", nil
		}
	}
	return false, fmt.Errorf("node %s is gone", node)
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
