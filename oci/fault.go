package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"syscall"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/clade-vm/clade"
)

// refusal is an error about what is asked for or what a registry has.
func refusal(kind clade.Kind, format string, args ...any) error {
	return &clade.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// fault gives a failure of the network or of a registry its kind. What a registry
// says is hostile text, and addresses may hold tokens: neither is repeated.
func fault(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if e, ok := errors.AsType[*clade.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		return answer(e.StatusCode)
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &clade.Error{Kind: clade.KindOf(err), Err: e.Err}
	}
	switch kind := clade.KindOf(err); {
	case errors.Is(err, errdef.ErrNotFound):
		return refusal(clade.NotFound, "the registry does not have it")
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return answer(http.StatusUnauthorized)
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData), errors.Is(err, content.ErrInvalidDescriptorSize):
		return refusal(clade.Corrupt, "what the registry sent is not what it said: %w", err)
	case slices.ContainsFunc(broken, func(e error) bool { return errors.Is(err, e) }):
		return lost()
	case kind != clade.Internal:
		return &clade.Error{Kind: kind, Err: err}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op != "dial" {
		return lost()
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return &clade.Error{Kind: clade.NotFound, Err: fmt.Errorf("cannot be reached: %s", bare(e.Err)), Hint: "check the registry's name and the network"}
	}
	return refusal(clade.Corrupt, "the registry cannot be understood: %s", bare(err))
}

func lost() error {
	return &clade.Error{Kind: clade.Busy, Err: errors.New("the connection broke before the end"), Hint: "try again: what arrived whole need not be sent again"}
}

// broken are the signs of a connection that ended too early.
var broken = []error{io.ErrUnexpectedEOF, io.EOF, syscall.ECONNRESET, syscall.EPIPE}

// answer is the error for a status that is not the one expected.
func answer(status int) error {
	kind, hint := clade.Invalid, ""
	switch {
	case status == http.StatusUnauthorized:
		kind, hint = clade.Denied, "log in first: docker login, podman login or oras login keep what clade reads"
	case status == http.StatusForbidden:
		kind, hint = clade.Denied, "ask who runs the registry for the right to do this"
	case status == http.StatusNotFound, status == http.StatusGone:
		kind = clade.NotFound
	case status == http.StatusTooManyRequests, status >= 500:
		kind, hint = clade.Busy, "try again later: what arrived whole need not be sent again"
	}
	return &clade.Error{Kind: kind, Err: fmt.Errorf("the registry answers %d %s", status, http.StatusText(status)), Hint: hint}
}

var queries = regexp.MustCompile(`\?[^\s"]*`)

// bare returns an error's text without the queries of addresses, which may hold
// tokens, as one short line.
func bare(err error) string {
	return fmt.Sprintf("%.300q", queries.ReplaceAllString(err.Error(), ""))
}
