//go:build lab

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// TestLabMoving carries a generalized Debian to another home, which proves it on
// the real disk; a bundle that says the same of one that is not is found out.
func TestLabMoving(t *testing.T) {
	t.Parallel()
	h, dir := newHome(t), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	h.run("build", "debian-12", "--name", "m")
	h.run("template", "create", "t", "--from", "m")
	h.run("template", "create", "bare", "--from", "m", "--skip-generalize")
	h.run("export", "t", file("t.clade"))
	h.run("export", "bare", file("bare.clade"))
	h.refused("it is not generalized", "export", "bare", file("bare.ova"))

	other := newHome(t)
	other.run("import", file("t.clade"))
	var made clade.Template
	if err := json.Unmarshal([]byte(other.run("template", "show", "t", "--json")), &made); err != nil {
		t.Fatal(err)
	}
	if made.Believed != "" || !bytes.Contains(made.Attestation, []byte(`"verified": true`)) && !bytes.Contains(made.Attestation, []byte(`"verified":true`)) {
		t.Errorf("the template is believed by %q, and attested as %s", made.Believed, made.Attestation)
	}
	other.run("clone", "t", "c", "--network", "none") // the gate lets it through

	lie(t, file("bare.clade"), file("lie.clade"), made.Attestation)
	other.refused("its attestation says that ", "import", file("lie.clade"), "--quiet")
	other.run("import", file("lie.clade"), "--trust")
	if out := other.run("template", "show", "bare"); !strings.Contains(out, "bundle lie.clade, not proven here") {
		t.Errorf("a template that is believed shows %s", out)
	}
}

// lie copies a bundle whose manifest says that its template is generalized.
func lie(t *testing.T, from, to string, attestation json.RawMessage) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := tar.NewWriter(out)
	for r := tar.NewReader(in); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if head.Name == "manifest.json" {
			var m map[string]any
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			m["generalized"], m["attestation"] = true, attestation
			if data, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			head.Size = int64(len(data))
		}
		if err := errors.Join(w.WriteHeader(head), second(w.Write(data))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func second(_ int, err error) error { return err }
