package oci

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
)

// A watch is a transfer that must not stand still: it ends its context when
// nothing has moved for a while.
type watch struct {
	io.Reader
	moved int64
	told  func(moved int64) // nil for none

	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func watched(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	if limit == 0 {
		limit = time.Minute
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() {
		cancel(&clade.Error{Kind: clade.Timeout, Err: errors.New("the registry said nothing for " + limit.String()), Hint: "try again later"})
	})
	return ctx, &watch{limit: limit, timer: timer, cancel: cancel}
}

func (w *watch) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.moved += int64(n)
		w.timer.Reset(w.limit)
		if w.told != nil {
			w.told(w.moved)
		}
	}
	if err == io.EOF {
		w.timer.Stop() // what comes now is the registry's own work
	}
	return n, err
}

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// A steady reader takes up a blob whose connection broke where it broke, as often
// as something came since, if the registry serves parts.
type steady struct {
	io.ReadCloser
	at, broke int64
}

func (s *steady) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b)
	s.at += int64(n)
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		return n, err
	}
	if n > 0 {
		return n, nil // the error comes again
	}
	seeker, ok := s.ReadCloser.(io.Seeker)
	if !ok || s.at <= s.broke {
		return 0, err
	}
	s.broke = s.at
	// Seeking to where it is does nothing: go back by one byte and read that again.
	if _, e := seeker.Seek(s.at-1, io.SeekStart); e != nil {
		return 0, err
	}
	if _, e := io.ReadFull(s.ReadCloser, make([]byte, 1)); e != nil {
		return 0, err
	}
	return 0, nil
}
