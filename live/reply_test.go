package live

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
)

// FuzzReply gives the parser whatever a guest may say. It must not panic, and must
// not tell of names that nobody asked for.
func FuzzReply(f *testing.F) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, h := range []*tar.Header{
		{Name: "./etc/a", Typeflag: tar.TypeReg, Size: 1}, {Name: "./etc/b", Typeflag: tar.TypeLink, Linkname: "./etc/a"},
		{Name: "./etc/" + strings.Repeat("c", 200), Typeflag: tar.TypeSymlink, Linkname: "x"},
	} {
		if err := w.WriteHeader(h); err != nil {
			f.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("a")); err != nil {
				f.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	asked := []string{"etc", "etc/a", "etc/b", "etc/" + strings.Repeat("c", 200)}
	const facts = "clade 4\n./etc\x00./etc/a\x00\x0041ed 4096 1795475802 65024 ./etc//\n81a4 1 -1 65024 ./etc/a\nb//\n//\n./etc\x00./etc/a\nb\x00\x00"
	f.Add([]byte(facts+archive.String()+"\nclade end W 2\n"), true)
	f.Add([]byte(facts+"begin\nclade end W 2\n"), false)
	f.Add([]byte("clade needs tar\n"), true)
	r, err := parseReply([]byte(facts+archive.String()+"\nclade end W 2\n"), "W", asked, true)
	if err != nil || len(r.facts) != 2 || string(r.files["etc/b"].data) != "a" || r.files[asked[3]].target != "x" || r.facts["etc/a\nb"].size != 1 {
		f.Fatalf("the reply is %+v, %v", r, err)
	}
	f.Fuzz(func(t *testing.T, out []byte, whole bool) {
		r, err := parseReply(out, "W", asked, whole)
		if (r == nil) == (err == nil) {
			t.Fatalf("parseReply = %v, %v", r, err)
		}
		if err != nil {
			return
		}
		for name := range r.facts {
			if name != "etc" && !strings.HasPrefix(name, "etc/") {
				t.Errorf("there is a fact about %q", name)
			}
		}
		m := newMirror(nil)
		m.insert(".", &node{mode: 0}, true)
		m.absorb(asked, r)
		if m.at("etc") == nil && m.entries > 0 {
			t.Errorf("there are %d files outside of /etc", m.entries)
		}
	})
}

func TestHosts(t *testing.T) {
	to := Identity{Hostname: "web-2"}
	for _, test := range []struct{ name, was, is, hostname, want string }{
		{"none of its own", "127.0.0.1 localhost\n", "127.0.0.1 localhost\n", "web1\n", "127.0.0.1 localhost\n"},
		{"Debian", "127.0.0.1 localhost\n127.0.1.1 web1\n::1 localhost\n", "127.0.0.1 localhost\n::1 localhost\n", "web1\n", "127.0.0.1 localhost\n127.0.1.1\tweb-2\n::1 localhost\n"},
		{"with a domain", "127.0.1.1 web1.lan web1\n", "", "web1\n", "127.0.1.1\tweb-2.lan web-2\n"},
		{"the hostname has the domain", "127.0.1.1 web1.lan web1\n", "", "web1.lan\n", "127.0.1.1\tweb-2.lan web-2\n"},
		{"Fedora", "127.0.0.1 localhost web1 # me\n", "127.0.0.1\tlocalhost", "WEB1\n", "127.0.0.1\tlocalhost\n127.0.1.1\tweb-2\n"},
		{"not erased", "127.0.1.1 web1\n10.0.0.1 db\n", "127.0.1.1 web1\n10.0.0.1 db\n", "web1\n", "127.0.1.1\tweb-2\n10.0.0.1 db\n"},
		{"an address that is another's", "10.0.0.5 web1\n", "", "web1\n", ""},
		{"no hostname", "127.0.0.1 localhost\n127.0.1.1 x\n", "127.0.0.1 localhost\n", "", "127.0.0.1 localhost\n127.0.1.1\tweb-2\n"},
		{"a comment", "# 127.0.1.1 web1\n127.0.0.1 localhost # web1\n", "127.0.0.1 localhost\n", "web1", "127.0.0.1 localhost\n"},
	} {
		if got := to.hosts(test.was, test.is, test.hostname); got != test.want {
			t.Errorf("%s: hosts is %q, want %q", test.name, got, test.want)
		}
	}
}

func TestComplaint(t *testing.T) {
	for said, want := range map[string]string{
		"": "", "stat: x: Permission denied\n": "", "find: './x': No such file or directory\n": "",
		"find: ./a\nb: No such file or directory\nfind: ./c: Not a directory\n":            "",
		"find: './x': No such file or directory\nfind: './y': Permission denied\ntar: z\n": "'./y': Permission denied\ntar: z",
		"find: ./home/\n: Input/output error\n":                                            "./home/\n: Input/output error",
		"tar: x\nfind: ‘./run’: Stale file handle\n":                                       "‘./run’: Stale file handle",
	} {
		if got := complaint(said); got != want {
			t.Errorf("complaint(%q) = %q, want %q", said, got, want)
		}
	}
}

// A command that reads must be small enough for the smallest xargs, busybox's.
func TestCommandsFit(t *testing.T) {
	if n := len(readScript) + maxNames + maxPath + 1024; n > 32<<10 {
		t.Errorf("a command has up to %d bytes", n)
	}
}
