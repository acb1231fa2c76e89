package foreign

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

// A member is one of an archive under construction.
type member struct {
	tar.Header
	data string
}

func file(name, data string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

// archived writes an archive, and returns its path.
func archived(t testing.TB, members []member) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.ova")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if m.Typeflag == tar.TypeReg {
			m.Size = int64(len(m.data))
		}
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if m.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(m.data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const disk1, disk2 = "the first disk's content", "the second disk's content"

// sums are lines of checksums for three files.
func sums(description string) string {
	return fmt.Sprintf("SHA1(lab.ovf)= %x\nSHA256 (lab-disk001.vmdk) = %X\r\nSHA-512(lab disk002.vmdk)=%x\n\n",
		sha1.Sum([]byte(description)), sha256.Sum256([]byte(disk1)), sha512.Sum512([]byte(disk2)))
}

// appliance are the members of an OVA as VirtualBox writes it.
func appliance(t testing.TB) []member {
	description := read(t, "virtualbox.ovf")
	return []member{file("lab.ovf", description), file("lab-disk001.vmdk", disk1), file("lab disk002.vmdk", disk2), file("lab.mf", sums(description))}
}

func open(t *testing.T, path string) *Source {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// mustFetch wants the content of a machine's disks, in order.
func mustFetch(t *testing.T, s *Source, want ...string) {
	t.Helper()
	dir := t.TempDir()
	for i, w := range want {
		var last clade.Event
		path, err := s.Fetch(t.Context(), s.Machine.Disks[i], dir, func(e clade.Event) { last = e })
		if err != nil {
			t.Errorf("Fetch of disk %d: %v", i, err)
			continue
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != w {
			t.Errorf("disk %d is %q, %v, want %q", i, got, err, w)
		}
		if s.sums != nil && (!last.End || last.Done != int64(len(w))) {
			t.Errorf("disk %d: the last event is %+v", i, last)
		}
	}
}

func TestOpenOVA(t *testing.T) {
	s := open(t, archived(t, appliance(t)))
	if s.Machine.Name != "lab" || slices.Contains(s.Machine.Notes, "there are no checksums") {
		t.Errorf("Open = %+v", s.Machine)
	}
	mustFetch(t, s, disk1, disk2)
	if _, err := s.Fetch(t.Context(), Disk{File: "other"}, t.TempDir(), nil); !errors.Is(err, clade.Corrupt) {
		t.Errorf("Fetch of what is not there: error = %v, want kind Corrupt", err)
	}
	if _, err := s.Fetch(t.Context(), Disk{Virtual: clade.GiB}, t.TempDir(), nil); !errors.Is(err, clade.Invalid) {
		t.Errorf("Fetch of a blank disk: error = %v, want kind Invalid", err)
	}
	if _, err := s.Fetch(t.Context(), s.Machine.Disks[0], filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, clade.NotFound) {
		t.Errorf("Fetch into no folder: error = %v, want kind NotFound", err)
	}
}

func TestOpenOVAOfManyKinds(t *testing.T) {
	a := appliance(t)
	plain := open(t, archived(t, a[:3]))
	if !slices.Contains(plain.Machine.Notes, "there are no checksums") {
		t.Errorf("without checksums the notes are %q", plain.Machine.Notes)
	}
	mustFetch(t, plain, disk1, disk2)
	dots := []member{{tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, ""}}
	for _, m := range a {
		m.Name = "./" + m.Name
		dots = append(dots, m)
	}
	mustFetch(t, open(t, archived(t, dots)), disk1, disk2)
	signed := open(t, archived(t, append(a, file("lab.cert", "x"))))
	if !slices.Contains(signed.Machine.Notes, "the signature in it is not checked") {
		t.Errorf("with a signature the notes are %q", signed.Machine.Notes)
	}
}

func TestHostileOVA(t *testing.T) {
	special := func(kind byte, name, link string) func([]member) []member {
		return func(m []member) []member {
			return append(m, member{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o777}, ""})
		}
	}
	for _, c := range []struct {
		name string
		do   func([]member) []member
		kind clade.Kind
		says string
	}{
		{"nothing", func([]member) []member { return nil }, clade.Invalid, "no description"},
		{"no description", func(m []member) []member { return m[1:] }, clade.Invalid, "no description"},
		{"up", func(m []member) []member { return append(m, file("../x.vmdk", "")) }, clade.Corrupt, `"../x.vmdk"`},
		{"down", func(m []member) []member { return append(m, file("dir/x.vmdk", "")) }, clade.Corrupt, `"dir/x.vmdk"`},
		{"absolute", func(m []member) []member { return append(m, file("/etc/cron.d/x", "")) }, clade.Corrupt, `"/etc/cron.d/x"`},
		{"up after a dot", func(m []member) []member { return append(m, file("./../x", "")) }, clade.Corrupt, `"./../x"`},
		{"symbolic link", special(tar.TypeSymlink, "x.vmdk", "/etc/shadow"), clade.Corrupt, "no plain file"},
		{"hard link", special(tar.TypeLink, "x.vmdk", "/etc/shadow"), clade.Corrupt, "no plain file"},
		{"device", special(tar.TypeChar, "x.vmdk", ""), clade.Corrupt, "no plain file"},
		{"folder", special(tar.TypeDir, "x", ""), clade.Corrupt, "no plain file"},
		{"a member twice", func(m []member) []member { return append(m, m[1]) }, clade.Corrupt, "twice"},
		{"two descriptions", func(m []member) []member { return append(m, file("b.ovf", m[0].data)) }, clade.Unsupported, "b.ovf"},
		{"checksums twice", func(m []member) []member { return append(m, file("b.mf", "")) }, clade.Corrupt, "checksums twice"},
		{"many members", func(m []member) []member {
			for i := range maxMembers {
				m = append(m, file(fmt.Sprint(i), ""))
			}
			return m
		}, clade.Corrupt, "more than 512"},
		{"long description", func(m []member) []member { m[0].data += strings.Repeat(" ", int(MaxDescription)); return m[:3] }, clade.Corrupt, "more than"},
		{"description changed", func(m []member) []member { m[0].data += "\n"; return m }, clade.Corrupt, "checksum of"},
		{"description not in checksums", func(m []member) []member { m[0].Name = "x.ovf"; return m }, clade.Corrupt, "leave out"},
		{"checksum line", func(m []member) []member { m[3].data += "garbage"; return m }, clade.Corrupt, "garbage"},
		{"checksum twice", func(m []member) []member { m[3].data += "SHA1(lab.ovf)= 00"; return m }, clade.Corrupt, "twice"},
		{"many checksums", func(m []member) []member { m[3].data += strings.Repeat("\n", maxChecksums); return m }, clade.Corrupt, "more than"},
		{"kind of checksum", func(m []member) []member { m[3].data = strings.Replace(m[3].data, "SHA1", "CRC32", 1); return m }, clade.Unsupported, "CRC32"},
	} {
		s, err := Open(archived(t, c.do(appliance(t))))
		if clade.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Open = %+v, %v, want kind %q and %q", c.name, s, err, c.kind, c.says)
		}
	}
}

// TestSparseMembersAreRefused has a member of a terabyte in an archive of some KiB.
func TestSparseMembersAreRefused(t *testing.T) {
	huge := file("huge.vmdk", "1\n0\n512\n"+strings.Repeat("\x00", 1024))
	huge.PAXRecords = map[string]string{"GNU_sparse.major": "1", "GNU_sparse.minor": "0", "GNU_sparse.name": "huge.vmdk", "GNU_sparse.realsize": "1099511627776"}
	path := archived(t, append(appliance(t), huge))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte("GNU_sparse"), []byte("GNU.sparse")), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(path); !errors.Is(err, clade.Corrupt) || !strings.Contains(err.Error(), "huge.vmdk") {
		t.Errorf("Open = %+v, %v, want kind Corrupt and the member's name", s, err)
	}
}

func TestFetchProves(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(m []member)
		kind clade.Kind
	}{
		"another content":    {func(m []member) { m[1].data = "x" + m[1].data[1:] }, clade.Corrupt},
		"not in checksums":   {func(m []member) { m[3].data = strings.Replace(m[3].data, "disk001", "disk003", 1) }, clade.Corrupt},
		"not in the archive": {func(m []member) { m[1].Name = "x.vmdk" }, clade.Corrupt},
	} {
		m := appliance(t)
		c.do(m)
		s, dir := open(t, archived(t, m)), t.TempDir()
		if _, err := s.Fetch(t.Context(), s.Machine.Disks[0], dir, nil); clade.KindOf(err) != c.kind {
			t.Errorf("%s: Fetch error = %v, want kind %q", name, err, c.kind)
		}
		mustBeEmpty(t, dir)
		mustFetch(t, s) // the other disk is not touched by it
		if _, err := s.Fetch(t.Context(), s.Machine.Disks[1], dir, nil); err != nil {
			t.Errorf("%s: Fetch of the other disk: %v", name, err)
		}
	}
	s, dir := open(t, archived(t, appliance(t))), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Fetch(ctx, s.Machine.Disks[0], dir, nil); !errors.Is(err, clade.Timeout) {
		t.Errorf("Fetch error = %v, want kind Timeout", err)
	}
	mustBeEmpty(t, dir)
}

func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("there remain %v, %v", files, err)
	}
}

func TestCutOffOVA(t *testing.T) {
	whole, err := os.ReadFile(archived(t, appliance(t)))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole)-1024; at += 700 {
		path := filepath.Join(t.TempDir(), "x.ova")
		if err := os.WriteFile(path, whole[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err == nil { // cut between two members
			_, err = s.Fetch(t.Context(), s.Machine.Disks[1], t.TempDir(), nil)
			err = errors.Join(err, s.Close())
			if err == nil && slices.Contains(s.Machine.Notes, "there are no checksums") {
				continue // all but the checksums are there
			}
		}
		if k := clade.KindOf(err); k != clade.Corrupt && k != clade.Invalid || at > 7000 && !strings.Contains(err.Error(), "cut off") && !strings.Contains(err.Error(), "not in the archive") {
			t.Errorf("cut at %d of %d: error = %v, want kind Corrupt or Invalid", at, len(whole), err)
		}
	}
}

// folder writes files beside each other.
func folder(t *testing.T, members []member) string {
	t.Helper()
	dir := t.TempDir()
	for _, m := range members {
		if err := os.WriteFile(filepath.Join(dir, m.Name), []byte(m.data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpenOVFFolder(t *testing.T) {
	mustFetch(t, open(t, filepath.Join(folder(t, appliance(t)), "lab.ovf")), disk1, disk2)
	without := open(t, filepath.Join(folder(t, appliance(t)[:3]), "lab.ovf"))
	mustFetch(t, without, disk1, disk2)
	if !slices.Contains(without.Machine.Notes, "there are no checksums") {
		t.Errorf("without checksums the notes are %q", without.Machine.Notes)
	}

	dir := folder(t, appliance(t))
	s := open(t, filepath.Join(dir, "lab.ovf"))
	path := filepath.Join(dir, "lab-disk001.vmdk")
	for name, c := range map[string]struct {
		do   func() error
		kind clade.Kind
	}{
		"changed": {func() error { return os.WriteFile(path, []byte("other"), 0o600) }, clade.Corrupt},
		"a link":  {func() error { return errors.Join(os.Remove(path), os.Symlink("/etc/shadow", path)) }, clade.Invalid},
		"gone":    {func() error { return os.RemoveAll(path) }, clade.NotFound},
	} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(disk1), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Fetch(t.Context(), s.Machine.Disks[0], t.TempDir(), nil); clade.KindOf(err) != c.kind {
			t.Errorf("%s: Fetch error = %v, want kind %q", name, err, c.kind)
		}
	}
	changed := appliance(t)
	changed[0].data += "\n"
	if _, err := Open(filepath.Join(folder(t, changed), "lab.ovf")); !errors.Is(err, clade.Corrupt) {
		t.Errorf("a description that was changed: error = %v, want kind Corrupt", err)
	}
}

func TestOpenLibvirtFile(t *testing.T) {
	path := filepath.Join(folder(t, []member{file("web.xml", "\xef\xbb\xbf\n"+read(t, "libvirt.xml"))}), "web.xml")
	s := open(t, path)
	if got, err := s.Fetch(t.Context(), s.Machine.Disks[0], t.TempDir(), nil); got != "/srv/web.qcow2" || err != nil {
		t.Errorf("Fetch = %q, %v, want the path", got, err)
	}
	for name, c := range map[string]struct {
		content string
		kind    clade.Kind
	}{
		"other XML": {"<html><body/></html>", clade.Invalid},
		"garbage":   {"garbage", clade.Invalid},
		"empty":     {"", clade.Invalid},
		"an image":  {"QFI\xfb" + strings.Repeat("\x00", 4096), clade.Invalid},
	} {
		if _, err := Open(filepath.Join(folder(t, []member{file("x", c.content)}), "x")); clade.KindOf(err) != c.kind {
			t.Errorf("%s: Open error = %v, want kind %q", name, err, c.kind)
		}
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, clade.Invalid) {
		t.Errorf("a folder: Open error = %v, want kind Invalid", err)
	}
}

// FuzzOVA holds Open and Fetch to their promise: what an archive holds is written
// where the caller said, and only whole.
func FuzzOVA(f *testing.F) {
	data, err := os.ReadFile(archived(f, appliance(f)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if err != nil {
			if k := clade.KindOf(err); k != clade.Invalid && k != clade.Unsupported && k != clade.Corrupt {
				t.Errorf("Open error = %v of kind %q", err, k)
			}
			return
		}
		defer s.Close()
		dir := t.TempDir()
		for _, d := range s.Machine.Disks {
			got, err := s.Fetch(t.Context(), d, dir, nil)
			if err != nil || filepath.IsAbs(d.File) {
				continue
			}
			if s.archive != nil && filepath.Dir(got) != dir {
				t.Errorf("Fetch(%q) = %s, outside of %s", d.File, got, dir)
			}
			if err := os.Remove(got); err != nil {
				t.Error(err)
			}
		}
		mustBeEmpty(t, dir)
	})
}
