package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/clade-vm/clade"
)

// The bounds of a download.
const (
	DefaultLimit = 256 * clade.GiB
	maxRedirects = 5
	stall        = time.Minute // so long may a server say nothing
)

// download fetches the URL into a file of s.Temp that has no name any more: it is
// gone as soon as it is closed, whatever happens to this process.
func (s Source) download(ctx context.Context, p clade.Progress) (*os.File, int64, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, 0, refusal(clade.Invalid, "", "not an http or https URL")
	}
	if s.Temp == "" {
		return nil, 0, &clade.Error{Kind: clade.Internal, Err: errors.New("no folder for the download")}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() {
		cancel(refusal(clade.Timeout, "try again later", "the server said nothing for %v", stall))
	})
	defer watch.Stop()
	body, length, err := s.request(ctx)
	if err != nil {
		return nil, 0, networkFault(ctx, err)
	}
	defer body.Close()
	if free, err := Space(s.Temp); err == nil && length > int64(free) {
		return nil, 0, refusal(clade.NoSpace, "free some space, or set CLADE_HOME to a larger disk",
			"the download has %v, and %s has %v free", clade.Bytes(length), s.Temp, free)
	}
	f, err := os.CreateTemp(s.Temp, "download-")
	if err != nil {
		return nil, 0, fault(err)
	}
	if err = os.Remove(f.Name()); err == nil {
		err = s.fill(ctx, f, &alive{body, watch}, length, p)
	}
	if err != nil {
		f.Close()
		return nil, 0, networkFault(ctx, err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fault(err)
	}
	return f, st.Size(), nil
}

// fill writes body to f and proves its size and checksum. length is -1 if unknown.
func (s Source) fill(ctx context.Context, f *os.File, body io.Reader, length int64, p clade.Progress) error {
	sum := sha256.New()
	counted := &counter{ctx: ctx, event: clade.Event{Step: "download", Total: max(length, 0), Unit: "B"}, tell: p}
	n, err := io.Copy(io.MultiWriter(f, sum, counted), io.LimitReader(body, int64(s.limit())+1))
	if err != nil {
		return err
	}
	if n > int64(s.limit()) {
		return s.tooLarge()
	}
	if err := s.prove(sum); err != nil {
		return err
	}
	counted.end()
	return nil
}

// request asks for the URL and returns the body of a good answer, and its length.
func (s Source) request(ctx context.Context) (io.ReadCloser, int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("User-Agent", "clade")
	client := http.Client{
		// The bytes as published: unpacking on the way would spoil the checksum.
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			switch from := via[len(via)-1]; {
			case len(via) > maxRedirects:
				return refusal(clade.Invalid, "", "more than %d redirections", maxRedirects)
			case to.URL.Scheme != "https" && (to.URL.Scheme != "http" || from.URL.Scheme == "https"):
				return refusal(clade.Denied, "", "redirected from %s to %s", from.URL.Scheme, to.URL.Redacted())
			}
			return nil
		},
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	if err := judge(answer.StatusCode); err != nil {
		answer.Body.Close()
		return nil, 0, err
	}
	if answer.ContentLength > int64(s.limit()) {
		answer.Body.Close()
		return nil, 0, s.tooLarge()
	}
	return answer.Body, answer.ContentLength, nil
}

// judge returns an error for every status but 200.
func judge(status int) error {
	kind := clade.Invalid
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusNotFound, status == http.StatusGone:
		kind = clade.NotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		kind = clade.Denied
	case status == http.StatusTooManyRequests, status >= 500:
		kind = clade.Busy
	}
	return refusal(kind, "", "the server answers %d %s", status, http.StatusText(status))
}

func (s Source) limit() clade.Bytes {
	if s.Limit > 0 {
		return s.Limit
	}
	return DefaultLimit
}

func (s Source) tooLarge() error {
	return refusal(clade.Invalid, "", "the download is larger than %v", s.limit())
}

// networkFault gives a failure of the network its kind, and drops the URL that
// package url puts before it: Import says it already, without the password.
func networkFault(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fault(cause)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if clade.KindOf(fault(err)) != clade.Internal {
		return fault(err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return refusal(clade.Corrupt, "try again", "the connection broke before the end")
	}
	return &clade.Error{Kind: clade.NotFound, Err: fmt.Errorf("cannot be fetched: %w", err), Hint: "check the URL and the network"}
}

// An alive reader puts off the watchdog at every read that brings something.
type alive struct {
	io.Reader
	watch *time.Timer
}

func (a *alive) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	if n > 0 {
		a.watch.Reset(stall)
	}
	return n, err
}

// redacted returns a URL without its password, or the text as it is.
func redacted(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return s
}
