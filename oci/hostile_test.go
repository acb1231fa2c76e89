package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/bundle"
)

// cutting breaks the connection amid a blob.
func cutting(digest string, blob []byte) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, digest) {
			return false
		}
		_, _ = w.Write(blob[:len(blob)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// parts serves at most n bytes of a body, from where it is asked for.
func parts(w http.ResponseWriter, r *http.Request, body []byte, n int) int64 {
	w.Header().Set("Accept-Ranges", "bytes")
	at := 0
	status := http.StatusOK
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at); err == nil {
		status = http.StatusPartialContent
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)-at))
	w.WriteHeader(status)
	n = min(n, len(body)-at)
	_, _ = w.Write(body[at : at+n])
	w.(http.Flusher).Flush()
	return int64(n)
}

// An evil registry serves a template of which one thing is changed.
type evil struct {
	manifest ocispec.Manifest
	kind     string // the media type of the manifest
	config   []byte
	blobs    map[digest.Digest][]byte
	header   string // the digest that is claimed for the manifest
}

// take is what an honest registry has of version 2.
func take(t *testing.T, s *server) *evil {
	a, err := Open(t.Context(), s.host+"/vms/debian-12:2", impatient(t))
	if err != nil {
		t.Fatal(err)
	}
	e := &evil{kind: ocispec.MediaTypeImageManifest, blobs: make(map[digest.Digest][]byte)}
	if e.manifest, _, err = artifact(t.Context(), a.repo, "2"); err != nil {
		t.Fatal(err)
	}
	e.config = must[[]byte](t)(fetchAll(t.Context(), a.repo.Blobs(), e.manifest.Config, 1<<20))
	for _, blob := range e.manifest.Layers {
		e.blobs[blob.Digest] = must[[]byte](t)(fetchAll(t.Context(), a.repo.Blobs(), blob, 10<<20))
	}
	return e
}

func (e *evil) answer(w http.ResponseWriter, r *http.Request) bool {
	data, err := json.Marshal(e.manifest)
	if err != nil {
		panic(err)
	}
	switch {
	case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/"):
		w.Header().Set("Content-Type", e.kind)
		if e.header != "" {
			w.Header().Set("Docker-Content-Digest", e.header)
		}
	case strings.HasSuffix(r.URL.Path, e.manifest.Config.Digest.String()):
		data = e.config
	default:
		for d, blob := range e.blobs {
			if strings.HasSuffix(r.URL.Path, d.String()) {
				data = blob
			}
		}
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data)
	return true
}

// setConfig changes the manifest of the template, with all digests right.
func (e *evil) setConfig(do func(*bundle.Manifest)) {
	m, err := bundle.Parse(e.config)
	if err != nil {
		panic(err)
	}
	do(m)
	e.config, _ = json.Marshal(m)
	e.manifest.Config.Digest, e.manifest.Config.Size = digest.FromBytes(e.config), int64(len(e.config))
}

// setBlob changes a layer's blob, with its digest right.
func (e *evil) setBlob(n int, data []byte) {
	d := digest.FromBytes(data)
	e.blobs[d] = data
	e.manifest.Layers[n].Digest, e.manifest.Layers[n].Size = d, int64(len(data))
}

func TestEvilRegistries(t *testing.T) {
	s, from := serve(t), master(t)
	must[*Pushed](t)(from.push(s, from.template("2", delta, base)))
	for _, c := range []struct {
		name string
		do   func(*evil)
		kind clade.Kind
		says string
	}{
		{"honest", func(*evil) {}, "", ""},
		{"claims another digest", func(e *evil) { e.header = digest.FromString("x").String() }, clade.Corrupt, "not what it said"},
		{"garbage for a digest", func(e *evil) { e.header = "sha256:x" }, clade.Corrupt, "cannot be understood"},
		{"a container image", func(e *evil) {
			e.manifest.ArtifactType = ""
			e.manifest.Config.MediaType = ocispec.MediaTypeImageConfig
		}, clade.Unsupported, ocispec.MediaTypeImageConfig},
		{"an index", func(e *evil) { e.kind = ocispec.MediaTypeImageIndex }, clade.Unsupported, "not a template"},
		{"another artifact", func(e *evil) { e.manifest.ArtifactType = "x/y" }, clade.Unsupported, "x/y"},
		{"a huge manifest", func(e *evil) { e.manifest.Annotations["x"] = strings.Repeat("x", maxMetadata) }, clade.Corrupt, "manifest of"},
		{"a huge config", func(e *evil) { e.manifest.Config.Size = 1 << 62 }, clade.Corrupt, "manifest of 4611686018427387904"},
		{"a negative config", func(e *evil) { e.manifest.Config.Size = -1 }, clade.Corrupt, "manifest of -1"},
		{"another config", func(e *evil) { e.config = append(e.config[:len(e.config)-1], ' ') }, clade.Corrupt, ""},
		{"config by no digest", func(e *evil) { e.manifest.Config.Digest = "../../x" }, clade.Corrupt, "no digest"},
		{"config that is none", func(e *evil) { e.setConfig(func(m *bundle.Manifest) { m.Format = 0 }) }, clade.Invalid, "no manifest"},
		{"config of the future", func(e *evil) { e.setConfig(func(m *bundle.Manifest) { m.Format = 9 }) }, clade.Unsupported, "format 9"},
		{"config of a machine", func(e *evil) { e.setConfig(func(m *bundle.Manifest) { m.Kind = bundle.Machine }) }, clade.Corrupt, ""},
		{"a machine", func(e *evil) {
			e.setConfig(func(m *bundle.Manifest) {
				m.Kind, m.Version, m.Disks[0].Layer, m.Layers[1].ID, m.Layers[1].Head = bundle.Machine, "", "head-0", "head-0", true
			})
		}, clade.Corrupt, "not the layers"},
		{"fewer blobs than layers", func(e *evil) { e.manifest.Layers = e.manifest.Layers[:1] }, clade.Corrupt, "not the layers"},
		{"more blobs than layers", func(e *evil) { e.manifest.Layers = append(e.manifest.Layers, e.manifest.Layers[0]) }, clade.Corrupt, "not the layers"},
		{"blob of 2^62", func(e *evil) { e.manifest.Layers[0].Size = 1 << 62 }, clade.Corrupt, "4611686018427387904"},
		{"blob of nothing", func(e *evil) { e.manifest.Layers[0].Size = 0 }, clade.Corrupt, "0 bytes"},
		{"blob by no digest", func(e *evil) { e.manifest.Layers[0].Digest = "sha256:/../x" }, clade.Corrupt, "no digest"},
		{"blob of another type", func(e *evil) { e.manifest.Layers[0].MediaType = ocispec.MediaTypeImageLayerGzip }, clade.Unsupported, "gzip"},
		{"blob shorter than said", func(e *evil) { e.manifest.Layers[0].Size++ }, clade.Corrupt, "layer " + base},
		{"blob longer than said", func(e *evil) { e.manifest.Layers[0].Size-- }, clade.Corrupt, "layer " + base},
		{"a layer under another digest", func(e *evil) {
			d := digest.FromString("x")
			e.blobs[d] = e.blobs[e.manifest.Layers[0].Digest]
			e.manifest.Layers[0].Digest = d
		}, clade.Corrupt, "not what it said"},
		{"a flipped bit in a blob", func(e *evil) { e.blobs[e.manifest.Layers[0].Digest][1<<20] ^= 1 }, clade.Corrupt, "layer " + base},
		{"blobs in another order", func(e *evil) {
			l := e.manifest.Layers
			l[0], l[1] = l[1], l[0]
		}, clade.Corrupt, "layer " + delta + ": its blob has"},
		{"garbage with the right digest", func(e *evil) { e.setBlob(0, []byte("garbage")) }, clade.Corrupt, "cannot be unpacked"},
		{"more behind the layer", func(e *evil) {
			b := e.blobs[e.manifest.Layers[1].Digest]
			e.setBlob(1, append(bytes.Clone(b), b...))
		}, clade.Corrupt, "layer " + delta},
		{"a layer that names another file", func(e *evil) {
			e.setConfig(func(m *bundle.Manifest) { m.Layers[1].Parent = ""; m.Layers = m.Layers[1:] })
			e.manifest.Layers = e.manifest.Layers[1:]
		}, clade.Corrupt, "rests on"},
	} {
		e := take(t, s)
		c.do(e)
		s.when(e.answer)
		to := newHome(t)
		_, _, err := to.pull(s, "2")
		s.when(nil)
		if clade.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error = %v, want kind %q and %q", c.name, err, c.kind, c.says)
		}
		var want []string
		for id := range to.records {
			want = append(want, id)
		}
		mustHold(t, to, from, want...)
	}
}

func TestRegistriesThatFail(t *testing.T) {
	s, from := serve(t), master(t)
	m := from.template("2", delta, base)
	must[*Pushed](t)(from.push(s, m))
	for status, kind := range map[int]clade.Kind{401: clade.Denied, 403: clade.Denied, 404: clade.NotFound, 418: clade.Invalid,
		429: clade.Busy, 500: clade.Busy, 503: clade.Busy} {
		s.when(func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"` + "\x1b[2Jhostile" + `"}]}`))
			return true
		})
		_, _, err := newHome(t).pull(s, "2")
		if clade.KindOf(err) != kind || strings.Contains(err.Error(), "hostile") {
			t.Errorf("pull, status %d: error = %v, want kind %q and none of its text", status, err, kind)
		}
		if _, err := from.push(s, m); clade.KindOf(err) != kind || strings.Contains(err.Error(), "hostile") {
			t.Errorf("push, status %d: error = %v, want kind %q and none of its text", status, err, kind)
		}
	}
	var failed atomic.Int32
	s.when(func(w http.ResponseWriter, r *http.Request) bool {
		if failed.Add(1)%2 == 1 && r.Method == http.MethodGet {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	if _, _, err := newHome(t).pull(s, "2"); err != nil {
		t.Errorf("a registry that is busy at times: %v", err)
	}
}

func TestErrorsTellNoTokens(t *testing.T) {
	err := fault(t.Context(), fmt.Errorf("GET %q: odd\nanswer", "https://store.example.org/blob?X-Signature=s3cret&x=y"))
	if !strings.Contains(err.Error(), "store.example.org/blob") || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
		t.Errorf("fault = %v", err)
	}
}

func TestRegistryThatSaysNothing(t *testing.T) {
	s, from := serve(t), master(t)
	must[*Pushed](t)(from.push(s, from.template("1", base)))
	a, err := Open(t.Context(), s.host+"/vms/debian-12:1", Options{stall: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	blob := must[[]byte](t)(fetchAll(t.Context(), a.repo.Blobs(), a.blobs[base], 10<<20))
	s.when(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:1<<20])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	to := newHome(t)
	if _, err := a.Unpack(t.Context(), to.target(), nil); !errors.Is(err, clade.Timeout) || !strings.Contains(err.Error(), "said nothing") {
		t.Errorf("error = %v, want kind Timeout", err)
	}
	mustHold(t, to, from)
}

func TestEndsWithItsContext(t *testing.T) {
	s, from, to := serve(t), master(t), newHome(t)
	m := from.template("1", base)
	ctx, cancel := context.WithCancel(t.Context())
	s.when(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			cancel()
		}
		return false
	})
	if _, err := Push(ctx, s.host+"/vms/debian-12:1", m, from.open, impatient(t), nil); !errors.Is(err, context.Canceled) || !errors.Is(err, clade.Timeout) {
		t.Errorf("Push error = %v, want Canceled of kind Timeout", err)
	}
	s.when(nil)
	must[*Pushed](t)(from.push(s, m))
	a, err := Open(t.Context(), s.host+"/vms/debian-12:1", impatient(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Unpack(ctx, to.target(), nil); !errors.Is(err, context.Canceled) || !errors.Is(err, clade.Timeout) {
		t.Errorf("Unpack error = %v, want Canceled of kind Timeout", err)
	}
	mustHold(t, to, from)
}

func TestDamagedLayerIsNotPushed(t *testing.T) {
	s, from := serve(t), master(t)
	m := from.template("1", base)
	m.Layers[0].Digest = "sha256:" + strings.Repeat("0", 64)
	if _, err := from.push(s, m); !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "layer "+base) {
		t.Errorf("error = %v, want kind Corrupt and the layer's name", err)
	}
	if received, _, _ := s.tally(); received != 0 {
		t.Errorf("%d bytes of it were sent", received)
	}
}
