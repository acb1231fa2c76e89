//go:build integration

package appliance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	diskgpt "github.com/diskfs/go-diskfs/partition/gpt"
)

// The marks that every test guest is planted with.
const (
	plantedID  = "0123456789abcdef0123456789abcdef"
	plantedKey = "-----BEGIN OPENSSH PRIVATE KEY-----\nplanted\n-----END OPENSSH PRIVATE KEY-----\n"
)

// planted are the files of a small guest with the marks of a life.
var planted = map[string]string{
	"etc/machine-id":               plantedID + "\n",
	"etc/hostname":                 "golden\n",
	"etc/os-release":               "PRETTY_NAME=\"Test Linux 1\"\nID=test\n",
	"etc/passwd":                   "root:x:0:0:root:/root:/bin/sh\n",
	"etc/ssh/ssh_host_ed25519_key": plantedKey,
	"etc/ssh/ssh_host_rsa_key":     plantedKey,
	"usr/bin/true":                 "",
	"root/.bash_history":           "ls\n",
	"var/lib/systemd/random-seed":  "seed seed seed seed seed seed se",
	"var/log/syslog":               "planted\n",
}

// need fails the test where a program is missing, naming the package.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		_, err := exec.LookPath(program)
		if _, serr := os.Stat("/usr/sbin/" + program); err != nil && serr != nil {
			t.Fatalf("%s is missing: sudo apt-get install qemu-system-x86 qemu-utils e2fsprogs xfsprogs btrfs-progs lvm2", program)
		}
	}
}

// command runs a program, also one in sbin, and returns its output.
func command(t testing.TB, input string, name string, args ...string) string {
	t.Helper()
	need(t, name)
	cmd := exec.Command(name, args...)
	if cmd.Err != nil {
		cmd = exec.Command("/usr/sbin/"+name, args...)
	}
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// grow writes files into a new directory, those below prefix only, without it.
func grow(t testing.TB, files map[string]string, keep func(name string) (string, bool)) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name, ok := keep(name)
		if !ok {
			continue
		}
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func all(name string) (string, bool) { return name, true }

// with returns the planted files and more.
func with(more map[string]string) map[string]string {
	files := map[string]string{}
	for _, m := range []map[string]string{planted, more} {
		for name, content := range m {
			files[name] = content
		}
	}
	return files
}

// ext4 makes an ext4 file system of the files in a file of its own.
func ext4(t testing.TB, dir string, size string, args ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "ext4.img")
	command(t, "", "mke2fs", append(append([]string{"-q", "-t", "ext4", "-d", dir}, args...), image, size)...)
	return image
}

// A slice is a partition of a test's disk.
type slice struct {
	start, size int64  // in MiB
	name, guid  string // in a GPT
	content     string // the file with what is in it
}

// gpt makes a disk with a GUID partition table.
func gpt(t testing.TB, size int64, slices ...slice) string {
	t.Helper()
	table := &diskgpt.Table{LogicalSectorSize: 512, PhysicalSectorSize: 512, ProtectiveMBR: true}
	for i, s := range slices {
		table.Partitions = append(table.Partitions, &diskgpt.Partition{Index: i + 1, Start: uint64(s.start * 2048),
			End: uint64((s.start+s.size)*2048 - 1), Type: diskgpt.LinuxFilesystem, Name: s.name, GUID: s.guid})
	}
	image, f := partitioned(t, size, slices)
	defer f.Close()
	if err := table.Write(f, size<<20); err != nil {
		t.Fatal(err)
	}
	return image
}

// mbr makes a disk with a DOS partition table and this signature.
func mbr(t testing.TB, size int64, signature uint32, slices ...slice) string {
	t.Helper()
	table := make([]byte, 512)
	binary.LittleEndian.PutUint32(table[440:], signature)
	for i, s := range slices {
		entry := table[446+16*i:]
		entry[4] = 0x83
		binary.LittleEndian.PutUint32(entry[8:], uint32(s.start*2048))
		binary.LittleEndian.PutUint32(entry[12:], uint32(s.size*2048))
	}
	copy(table[510:], "\x55\xaa")
	image, f := partitioned(t, size, slices)
	defer f.Close()
	if _, err := f.WriteAt(table, 0); err != nil {
		t.Fatal(err)
	}
	return image
}

// partitioned makes a disk of size MiB with the content of its partitions.
func partitioned(t testing.TB, size int64, slices []slice) (string, *os.File) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(size << 20)
	}
	for _, s := range slices {
		var content []byte
		if err == nil {
			content, err = os.ReadFile(s.content)
		}
		if err == nil {
			_, err = f.WriteAt(content, s.start<<20)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return image, f
}

// plain is a whole disk with one planted ext4 file system.
func plain(t testing.TB) string {
	t.Helper()
	return ext4(t, grow(t, planted, all), "64M")
}

// dump lists a file system's files and reads one, as an independent reader does.
func debugfs(t testing.TB, image, request string) string {
	t.Helper()
	return command(t, "", "debugfs", "-R", request, image)
}

func digest(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// inits holds the programs that tests build, for all of them.
var inits string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "clade-appliance-")
	if err != nil {
		panic(err)
	}
	inits = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// build makes a static program for the VM, once.
func build(t testing.TB, source string) string {
	t.Helper()
	out := filepath.Join(inits, filepath.Base(source))
	if _, err := os.Stat(out); err == nil {
		return out
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", out, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", source, err, text)
	}
	return out
}

// boot returns an appliance whose cache outlives the test: a kernel is fetched
// once. CLADE_TEST_CACHE says where it is, else the user's own cache directory.
func boot(t testing.TB) (*Appliance, context.Context) {
	t.Helper()
	need(t, "qemu-system-x86_64")
	dir := os.Getenv("CLADE_TEST_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = os.TempDir()
		}
		dir = filepath.Join(cache, "clade-test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	log := slog.New(slog.NewTextHandler(writer{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &Appliance{Dir: filepath.Join(dir, "appliance"), Init: build(t, "./testdata/init"), Accel: "tcg", Log: log}, ctx
}

type writer struct{ t testing.TB }

func (w writer) Write(b []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(b))
	return len(b), nil
}
