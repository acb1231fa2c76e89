package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
)

// serve answers like the bad and the good servers of the world.
func serve(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "content") })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/secret", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "", http.StatusForbidden) })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "", http.StatusServiceUnavailable) })
	mux.HandleFunc("/announced", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestDownload(t *testing.T) {
	server := serve(t)
	sum := sha256.Sum256([]byte("content"))
	right, wrong := hex.EncodeToString(sum[:]), strings.Repeat("0", 64)
	for _, c := range []struct {
		path, sum string
		kind      clade.Kind
	}{
		{"/good", "", ""},
		{"/good", strings.ToUpper(right), ""},
		{"/moved", right, ""},
		{"/good", wrong, clade.Corrupt},
		{"/loop", "", clade.Invalid},
		{"/file", "", clade.Denied},
		{"/none", "", clade.NotFound},
		{"/secret", "", clade.Denied},
		{"/busy", "", clade.Busy},
		{"/announced", "", clade.Invalid},
		{"/endless", "", clade.Invalid},
	} {
		src := Source{URL: server.URL + c.path, Temp: t.TempDir(), Limit: 100 * clade.KiB, SHA256: c.sum}
		f, size, err := src.download(t.Context(), nil)
		if clade.KindOf(err) != c.kind {
			t.Errorf("download(%s, %s) error = %v, want kind %q", c.path, c.sum, err, c.kind)
		}
		if err == nil {
			if b, err := io.ReadAll(io.NewSectionReader(f, 0, size)); string(b) != "content" {
				t.Errorf("download(%s) = %q, %v", c.path, b, err)
			}
			f.Close()
		}
		if left, err := os.ReadDir(src.Temp); len(left) != 0 || err != nil {
			t.Errorf("download(%s) leaves %v, %v", c.path, left, err)
		}
	}
}

func TestDownloadCutOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "the beginning")
	}))
	defer server.Close()
	_, _, err := Source{URL: server.URL, Temp: t.TempDir()}.download(t.Context(), nil)
	if !errors.Is(err, clade.Corrupt) {
		t.Errorf("download error = %v, want kind Corrupt", err)
	}
}

func TestDownloadCancelled(t *testing.T) {
	server := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	src := Source{URL: server.URL + "/silent", Temp: t.TempDir()}
	if _, _, err := src.download(ctx, nil); !errors.Is(err, clade.Timeout) {
		t.Errorf("download error = %v, want kind Timeout", err)
	}
}

func TestImportRefusesSources(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		src  Source
		kind clade.Kind
	}{
		"nothing":      {Source{}, clade.Invalid},
		"both":         {Source{File: "a", URL: "http://127.0.0.1/"}, clade.Invalid},
		"no scheme":    {Source{URL: "127.0.0.1/disk", Temp: dir}, clade.Invalid},
		"other scheme": {Source{URL: "file:///etc/passwd", Temp: dir}, clade.Invalid},
		"nobody there": {Source{URL: "http://user:hush@127.0.0.1:1/disk", Temp: dir}, clade.NotFound},
		"bad checksum": {Source{File: "a", SHA256: "abc"}, clade.Invalid},
		"no file":      {Source{File: dir + "/none"}, clade.NotFound},
		"a folder":     {Source{File: dir}, clade.Invalid},
		"other sum":    {Source{File: place(t, []byte("x")), SHA256: strings.Repeat("1", 64)}, clade.Corrupt},
		"no image":     {Source{File: place(t, []byte("x"))}, clade.Invalid},
		"not raw":      {Source{File: place(t, []byte("QFI\xfb")), Format: Raw}, clade.Invalid},
		"not vdi":      {Source{File: place(t, marked(512, 510, "\x55\xaa")), Format: VDI}, clade.Invalid},
		"xz as raw":    {Source{File: place(t, []byte("\xfd7zXZ\x00")), Format: Raw}, clade.Unsupported},
		"odd raw":      {Source{File: place(t, make([]byte, 513)), Format: Raw}, clade.Invalid},
	} {
		_, err := Import(t.Context(), c.src, dir+"/dst", nil)
		if !errors.Is(err, c.kind) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: Import error = %v, want kind %q", name, err, c.kind)
		}
		mustBeAbsent(t, dir+"/dst")
	}
}
