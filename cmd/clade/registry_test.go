//go:build integration

package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A server is Debian's docker-registry, with a login, behind a proxy that counts
// what goes through and can break off.
type server struct {
	*desk
	name  string // of the proxy: what clade speaks to
	store string

	mu             sync.Mutex
	received, sent int64  // bytes of blobs, as the registry sees it
	broken         string // the digest of a blob that breaks off after some bytes
}

const user, password = "alice", "not in any log"

func serve(d *desk) *server {
	d.Helper()
	dir := d.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		d.Fatal(err)
	}
	s := &server{desk: d, store: filepath.Join(dir, "store")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\n"+
		"http: {addr: %q, relativeurls: true}\nauth: {htpasswd: {realm: clade, path: %q}}\n", s.store, addr, filepath.Join(dir, "htpasswd"))
	for name, text := range map[string]string{"htpasswd": user + ":" + string(hash) + "\n", "config.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			d.Fatal(err)
		}
	}
	cmd := exec.Command("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	said := new(strings.Builder)
	cmd.Stdout, cmd.Stderr, cmd.Env = said, said, []string{"PATH=" + os.Getenv("PATH"), "OTEL_TRACES_EXPORTER=none"}
	if err := cmd.Start(); err != nil {
		d.Fatalf("%v: apt-get install docker-registry", err)
	}
	d.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if d.Failed() {
			d.Logf("the registry said: %s", said)
		}
	})
	s.await(addr)
	target := &url.URL{Scheme: "http", Host: addr}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ErrorLog: nil}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.pass(proxy, w, r) }))
	d.Cleanup(front.Close)
	s.name = strings.TrimPrefix(front.URL, "http://") + "/vms/t:"
	return s
}

// await waits until the registry answers.
func (s *server) await(addr string) {
	s.Helper()
	for range 200 {
		if r, err := http.Get("http://" + addr + "/v2/"); err == nil {
			r.Body.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.Fatal("the registry does not answer")
}

// pass passes a request on, and counts the bytes of blobs.
func (s *server) pass(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/blobs/") {
		proxy.ServeHTTP(w, r)
		return
	}
	s.mu.Lock()
	breaks := s.broken != "" && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, s.broken)
	s.mu.Unlock()
	if r.Body != nil {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, counted{s, &s.received, 0}), r.Body}
	}
	limit := int64(0)
	if breaks {
		limit = 64 << 10
	}
	proxy.ServeHTTP(&counting{w, counted{s, &s.sent, limit}}, r)
}

// counted counts bytes, and breaks off where there is a limit.
type counted struct {
	s     *server
	n     *int64
	limit int64
}

func (c counted) Write(b []byte) (int, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	*c.n += int64(len(b))
	return len(b), nil
}

type counting struct {
	http.ResponseWriter
	counted
}

func (c *counting) Write(b []byte) (int, error) {
	if c.limit > 0 {
		_, _ = c.ResponseWriter.Write(b[:min(len(b), int(c.limit))])
		panic(http.ErrAbortHandler)
	}
	_, _ = c.counted.Write(b)
	return c.ResponseWriter.Write(b)
}

// tally returns and forgets how many bytes of blobs the registry got and gave.
func (s *server) tally() (received, sent int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	received, sent = s.received, s.sent
	s.received, s.sent = 0, 0
	return received, sent
}

// breakOff makes the blob with this digest break off; "" makes all whole again.
func (s *server) breakOff(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = digest
}

// blobs are the paths of the blobs in the registry of at least a size, the largest first.
func (s *server) blobs(least int64) (paths []string) {
	s.Helper()
	found, err := filepath.Glob(filepath.Join(s.store, "docker/registry/v2/blobs/sha256/*/*/data"))
	if err != nil || len(found) == 0 {
		s.Fatalf("blobs in the registry: %v, %v", found, err)
	}
	for _, path := range found {
		if fi, err := os.Stat(path); err == nil && fi.Size() >= least {
			paths = append(paths, path)
		}
	}
	if len(paths) == 2 {
		a, _ := os.Stat(paths[0])
		b, _ := os.Stat(paths[1])
		if a.Size() < b.Size() {
			paths[0], paths[1] = paths[1], paths[0]
		}
	}
	return paths
}

func (s *server) login() {
	s.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	host, _, _ := strings.Cut(s.name, "/")
	text := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, auth)
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

const baseSize, deltaSize = 24 << 20, 1 << 20

// noise writes bytes that cannot be packed to a place of a qcow2 image.
func noise(d *desk, file string, at, size int) {
	d.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	source := filepath.Join(d.TempDir(), "noise")
	if err := os.WriteFile(source, data, 0o600); err != nil {
		d.Fatal(err)
	}
	d.qemu("qemu-io", "-f", "qcow2", file, "-c", fmt.Sprintf("write -s %s %d %d", source, at, size))
}

// TestRealRegistry pushes two versions of a template to Debian's registry and pulls
// them in another home; what goes over the wire is counted at the registry.
func TestRealRegistry(t *testing.T) {
	d := newDesk(t)
	disk := d.disk("64M", "3")
	noise(d, disk, 24<<20, baseSize)
	d.run("import", "m", disk)
	d.run("template", "create", "t", "--from", "m", "--skip-generalize")
	noise(d, d.heads("m")[0], 2<<20, deltaSize)
	d.run("template", "create", "t", "--from", "m", "--skip-generalize")

	s := serve(d)
	d.refused("401 Unauthorized", "push", "t:1", s.name+"1")
	s.login()
	d.run("push", "t:1", s.name+"1")
	first, _ := s.tally()
	d.run("push", "t:2", s.name+"2")
	second, _ := s.tally()
	other := d.other()
	other.run("pull", s.name+"1")
	_, whole := s.tally()
	other.run("pull", s.name+"2")
	_, delta := s.tally()
	t.Logf("the registry received %d and %d bytes of blobs, and sent %d and %d", first, second, whole, delta)
	const slack = 128 << 10 // manifests, and what qcow2 writes besides
	if first < baseSize || second > deltaSize+slack || whole < baseSize || delta < deltaSize || delta > deltaSize+slack {
		t.Errorf("the second version cost more than its delta of %d bytes, or the first less than its base", deltaSize)
	}
	a, b := filepath.Join(t.TempDir(), "a.raw"), filepath.Join(t.TempDir(), "b.raw")
	d.run("export", "t:2", a, "--accept-twins", "all")
	other.run("export", "t:2", b, "--accept-twins", "all")
	d.same(a, "raw", b, "raw")
	other.run("verify", "--all")

	s.interrupted()
	s.damaged()
}

// interrupted pulls while the blob of the second layer breaks off, and then again.
func (s *server) interrupted() {
	s.Helper()
	large := s.blobs(deltaSize)
	if len(large) != 2 {
		s.Fatalf("the registry has the large blobs %v, want a base and a delta", large)
	}
	s.breakOff(filepath.Base(filepath.Dir(large[1])))
	home := s.other()
	home.refused("the connection broke", "pull", s.name+"2")
	s.breakOff("")
	s.tally()
	if said := home.run("pull", s.name+"2"); !strings.Contains(said, "1 of which had arrived before") {
		s.Errorf("the second try says %q", said)
	}
	if _, sent := s.tally(); sent > deltaSize+128<<10 {
		s.Errorf("the second try fetched %d bytes, the base again", sent)
	}
	home.run("verify", "--all")
}

// damaged pulls after a bit of a blob has flipped on the registry's disk.
func (s *server) damaged() {
	s.Helper()
	blob := s.blobs(deltaSize)[1]
	data, err := os.ReadFile(blob)
	if err != nil {
		s.Fatal(err)
	}
	put(s.desk, blob, int64(len(data)/2), []byte{data[len(data)/2] ^ 1})
	home := s.other()
	home.refused("what the registry sent is not what it said", "pull", s.name+"2")
	if out, said, status := home.try("template", "ls"); status != 0 || strings.Contains(out, "t:2") {
		s.Errorf("the template is there: %s%s", out, said)
	}
	home.run("gc")
	home.empty()
}
