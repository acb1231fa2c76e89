package oci

import (
	"bytes"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
	"github.com/clade-vm/clade/qcow2"
)

// A server is a registry that counts what goes through, and does on the way
// whatever a test wants.
type server struct {
	*httptest.Server
	host     string
	registry http.Handler

	mu       sync.Mutex
	received int64                                         // bytes of bodies, in PUT and PATCH
	sent     int64                                         // bytes of blobs, in answers to GET
	requests []string                                      // method and path
	on       func(http.ResponseWriter, *http.Request) bool // true: it is answered
	through  func(http.ResponseWriter) http.ResponseWriter // nil for none
}

func serve(t *testing.T) *server {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := &server{registry: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	s.Server = httptest.NewServer(s)
	s.host = strings.TrimPrefix(s.URL, "http://")
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	on, through := s.on, s.through
	s.mu.Unlock()
	if on != nil && on(w, r) {
		return
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, counter{s, &s.received}), r.Body}
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
		w = &counted{w, counter{s, &s.sent}}
	}
	if through != nil {
		w = through(w)
	}
	s.registry.ServeHTTP(w, r)
}

type counter struct {
	s *server
	n *int64
}

func (c counter) Write(b []byte) (int, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	*c.n += int64(len(b))
	return len(b), nil
}

type counted struct {
	http.ResponseWriter
	n io.Writer
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	_, _ = c.n.Write(b[:n])
	return n, err
}

// tally returns what went through since it was last asked.
func (s *server) tally() (received, sent int64, requests []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	received, sent, requests = s.received, s.sent, s.requests
	s.received, s.sent, s.requests = 0, 0, nil
	return received, sent, requests
}

func (s *server) when(do func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = do
}

// impatient are the options of all tests.
func impatient(t *testing.T) Options {
	return Options{Temp: t.TempDir(), retries: &retry.GenericPolicy{Retryable: retry.DefaultPredicate, MaxRetry: 2,
		Backoff: func(int, *http.Response) time.Duration { return time.Millisecond }}}
}

// A home is a folder with layers, as a caller of this package keeps them.
type home struct {
	t       *testing.T
	dir     string
	records map[string]*clade.Layer
	opened  []string
}

func newHome(t *testing.T) *home {
	return &home{t: t, dir: t.TempDir(), records: make(map[string]*clade.Layer)}
}

func (h *home) path(l bundle.Layer) string { return filepath.Join(h.dir, l.ID) }

func (h *home) open(l bundle.Layer) (*os.File, error) {
	h.opened = append(h.opened, l.ID)
	return os.Open(h.path(l))
}

// make writes a layer with random data.
func (h *home) make(id, parent string, data int) {
	h.t.Helper()
	l := bundle.Layer{ID: id, Parent: parent, Virtual: clade.GiB, Created: time.Unix(1700000000, 0).UTC()}
	o := qcow2.Overlay{Virtual: l.Virtual, Backing: bundle.Backing(parent)}
	if parent != "" {
		o.BackingFormat = "qcow2"
	}
	if err := qcow2.WriteOverlay(h.path(l), o); err != nil {
		h.t.Fatal(err)
	}
	f, err := os.OpenFile(h.path(l), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte([]byte(strings.Repeat(id, 40))))
	if _, err := io.CopyN(f, readerFunc(random.Read), int64(data)); err != nil {
		h.t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		h.t.Fatal(err)
	}
	if l.Digest, l.Size, err = bundle.Sum(h.t.Context(), f); err != nil {
		h.t.Fatal(err)
	}
	h.records[id] = l.Record()
}

func (h *home) target() bundle.Target {
	return bundle.Target{
		Have: func(l bundle.Layer) (bool, error) { return l.Is(h.records[l.ID]) },
		Path: func(l bundle.Layer) (string, error) { return h.path(l), nil },
		Arrived: func(l bundle.Layer) error {
			h.records[l.ID] = l.Record()
			return nil
		},
	}
}

// template is a version that rests on a chain, given from the top down.
func (h *home) template(version string, chain ...string) *bundle.Manifest {
	m := bundle.OfTemplate(&clade.Template{Name: "debian-12", Version: version, Created: time.Unix(1700000000, 0).UTC()})
	var layers []*clade.Layer
	for _, id := range chain {
		layers = append(layers, h.records[id])
	}
	m.AddDisk(0, layers, nil)
	return m
}

// The layers of versions 1 and 2 of debian-12: the second rests on the first.
const (
	base  = "aaaa234567" // 3 MiB
	delta = "bbbb234567" // 300 KiB
)

func master(t *testing.T) *home {
	h := newHome(t)
	h.make(base, "", 3<<20)
	h.make(delta, base, 300<<10)
	return h
}

func (h *home) push(s *server, m *bundle.Manifest) (*Pushed, error) {
	return Push(h.t.Context(), s.host+"/vms/debian-12:"+m.Version, m, h.open, impatient(h.t), nil)
}

func (h *home) pull(s *server, version string) (*Artifact, clade.Bytes, error) {
	a, err := Open(h.t.Context(), s.host+"/vms/debian-12:"+version, impatient(h.t))
	if err != nil {
		return nil, 0, err
	}
	n, err := a.Unpack(h.t.Context(), h.target(), nil)
	return a, n, err
}

// mustHold wants in h the layers of from, and no other file.
func mustHold(t *testing.T, h, from *home, ids ...string) {
	t.Helper()
	for _, id := range ids {
		got, err := os.ReadFile(filepath.Join(h.dir, id))
		want, _ := os.ReadFile(filepath.Join(from.dir, id))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("layer %s came as %d bytes, %v, want %d", id, len(got), err, len(want))
		}
	}
	if files, err := os.ReadDir(h.dir); err != nil || len(files) != len(ids) {
		t.Errorf("the home holds %v, %v, want %v", files, err, ids)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
