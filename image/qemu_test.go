//go:build integration

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/qcow2"
)

// run runs one of QEMU's tools and fails the test unless it ends well.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: apt-get install qemu-utils", err)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "verification failed") {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// disk returns a raw disk of 64 MiB with a boot record and some data.
func disk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, marked(512, 510, "\x55\xaa"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 1 1M 5M", "-c", "write -P 2 40M 64k", "-c", "write -P 3 67108352 512", path)
	return path
}

func same(t *testing.T, a string, aFormat Format, b string) {
	t.Helper()
	run(t, "qemu-img", "compare", "-f", string(aFormat), "-F", "qcow2", a, b)
	if out := run(t, "qemu-img", "check", "-f", "qcow2", b); !strings.Contains(out, "No errors were found") {
		t.Errorf("qemu-img check: %s", out)
	}
}

func TestImportEveryFormat(t *testing.T) {
	raw := disk(t)
	for name, c := range map[string]struct {
		format Format
		args   []string
	}{
		"raw":        {Raw, nil},
		"qcow2":      {QCOW2, nil},
		"compressed": {QCOW2, []string{"-c"}},
		"version 2":  {QCOW2, []string{"-o", "compat=0.10"}},
		"vmdk":       {VMDK, nil},
		"stream":     {VMDK, []string{"-o", "subformat=streamOptimized"}},
		"vdi":        {VDI, nil},
		"vhdx":       {VHDX, nil},
		"vhd":        {VHD, []string{"-o", "force_size=on"}},
		"fixed vhd":  {VHD, []string{"-o", "subformat=fixed,force_size=on"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			// A name that QEMU would take for options or a protocol.
			src, dst := filepath.Join(dir, "json:{,-o a=b}"), filepath.Join(dir, "nbd:dst,x=y")
			made := filepath.Join(dir, "made")
			run(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O", string(c.format)}, c.args...), raw, made)...)
			if err := os.Rename(made, src); err != nil {
				t.Fatal(err)
			}
			if got, err := Detect(src); got != c.format || err != nil {
				t.Errorf("Detect = %q, %v, want %q", got, err, c.format)
			}
			var last clade.Event
			virtual, err := Import(t.Context(), Source{File: src, Format: c.format}, dst, func(e clade.Event) { last = e })
			if err != nil {
				t.Fatal(err)
			}
			if virtual != 64*clade.MiB || !last.End || last.Done != int64(virtual) {
				t.Errorf("Import = %v, last event %+v", virtual, last)
			}
			if err := os.Rename(dst, made+".qcow2"); err != nil {
				t.Fatal(err)
			}
			same(t, raw, Raw, made+".qcow2")
			i, err := qcow2.InspectFile(made + ".qcow2")
			if err != nil || !i.ExtendedL2 || i.ClusterBits != 17 || i.Backing != "" {
				t.Errorf("the result is %+v, %v", i, err)
			}
			if err := Check(t.Context(), made+".qcow2"); err != nil {
				t.Errorf("Check = %v", err)
			}
		})
	}
}

func TestImportURL(t *testing.T) {
	raw := disk(t)
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(raw))))
	defer server.Close()
	temp, dst := t.TempDir(), filepath.Join(t.TempDir(), "dst")
	if _, err := Import(t.Context(), Source{URL: server.URL + "/disk.raw", Temp: temp}, dst, nil); err != nil {
		t.Fatal(err)
	}
	same(t, raw, Raw, dst)
	if left, err := os.ReadDir(temp); len(left) != 0 || err != nil {
		t.Errorf("the download leaves %v, %v", left, err)
	}
}

// TestImportReadsNoOtherFile gives Import images that name a file of the host.
func TestImportReadsNoOtherFile(t *testing.T) {
	secret := disk(t)
	create := func(format Format, options string) func(path string) {
		return func(path string) {
			run(t, "qemu-img", "create", "-q", "-f", string(format), "-o", options, path, "64M")
		}
	}
	for name, make := range map[string]func(path string){
		"qcow2 backing file": create(QCOW2, "backing_file="+secret+",backing_fmt=raw"),
		"vmdk flat":          create(VMDK, "subformat=monolithicFlat"),
		"vmdk split":         create(VMDK, "subformat=twoGbMaxExtentSparse"),
		"qcow2 data file": func(path string) {
			run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file="+path+".data", path, "64M")
		},
		"qcow2 encrypted": func(path string) {
			run(t, "qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=x",
				"-o", "encrypt.format=aes,encrypt.key-secret=s", path, "64M")
		},
		"qcow2 snapshot": func(path string) {
			run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "64M")
			run(t, "qemu-img", "snapshot", "-c", "s", path)
		},
	} {
		src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
		make(src)
		if _, err := Import(t.Context(), Source{File: src}, dst, nil); !errors.Is(err, clade.Unsupported) {
			t.Errorf("%s: Import error = %v, want kind Unsupported", name, err)
		}
		mustBeAbsent(t, dst)
	}
}

// TestQEMUIsConfined leaves out what refuses such images, as if a file had been
// changed after it was looked at: QEMU itself must then find the way shut.
func TestQEMUIsConfined(t *testing.T) {
	secret, dir := disk(t), t.TempDir()
	over, data := filepath.Join(dir, "over"), filepath.Join(dir, "data")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "backing_file="+secret+",backing_fmt=raw", over)
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file="+data+".bin,data_file_raw=on", data, "64M")
	run(t, "qemu-io", "-f", "raw", "-c", "write -P 9 0 1M", data+".bin")
	open := func(path string) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	// The backing file that the header names is not opened at all: zeros.
	dst := filepath.Join(dir, "dst1")
	if err := convert(t.Context(), open(over), QCOW2, 64*clade.MiB, dst, nil); err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-io", "-f", "qcow2", "-c", "read -P 0 0 64M", dst)
	// The data file, and any name at all, is the kernel's to refuse.
	dst = filepath.Join(dir, "dst2")
	err := convert(t.Context(), open(data), QCOW2, 64*clade.MiB, dst, nil)
	if !errors.Is(err, clade.Denied) {
		t.Errorf("convert of an image with a data file: error = %v, want kind Denied (does this kernel have Landlock?)", err)
	}
	mustBeAbsent(t, dst)
	n := stored(Raw, secret, nil)
	if _, err := (tool{args: []string{"info", n.String()}}).run(t.Context(), nil); !errors.Is(err, clade.Denied) {
		t.Errorf("info on a file that was not handed over: error = %v, want kind Denied", err)
	}
	if _, err := (tool{args: []string{"info", n.String()}, allow: []access{{secret, mayRead}}}).run(t.Context(), nil); err != nil {
		t.Errorf("info on a file that may be read: error = %v", err)
	}
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("this process was confined, too: %v", err)
	}
}

// TestNoThreadStaysConfined looks for what a confined run leaves: a thread that
// lives on would keep every file it was given, even a removed one, on the disk.
func TestNoThreadStaysConfined(t *testing.T) {
	for range 40 {
		if _, err := (tool{args: []string{"--version"}}).run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		threads, err := filepath.Glob("/proc/self/task/*/status")
		if err != nil || len(threads) == 0 {
			t.Fatalf("threads = %v, %v", threads, err)
		}
		confined := 0
		for _, path := range threads {
			if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte("NoNewPrivs:\t1")) {
				confined++
			}
		}
		if confined == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d threads stay confined", confined, len(threads))
		}
	}
}

func TestImportFindsCutFiles(t *testing.T) {
	raw := disk(t)
	for _, format := range []Format{QCOW2, VMDK, VDI, VHDX, VHD} {
		src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
		run(t, "qemu-img", "convert", "-f", "raw", "-O", string(format), raw, src)
		st, err := os.Stat(src)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int64{100, 700, st.Size() / 2, st.Size() - 1<<20} {
			if err := os.Truncate(src, size); err != nil { // grows again with zeros after the first
				t.Fatal(err)
			}
			if size > 700 {
				run(t, "qemu-img", "convert", "-f", "raw", "-O", string(format), raw, src)
				if err := os.Truncate(src, size); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Import(t.Context(), Source{File: src, Format: format}, dst, nil); err == nil {
				t.Errorf("%s cut to %d of %d bytes: imported", format, size, st.Size())
				os.Remove(dst)
			} else if k := clade.KindOf(err); k != clade.Corrupt && k != clade.Invalid {
				t.Errorf("%s cut to %d bytes: Import error = %v, want kind Corrupt or Invalid", format, size, err)
			}
			mustBeAbsent(t, dst)
		}
	}
}

func TestImportOnFullDisk(t *testing.T) {
	src, dst := disk(t), filepath.Join(t.TempDir(), "dst")
	limitFileSize(t, 3<<20)
	if _, err := Import(t.Context(), Source{File: src}, dst, nil); !errors.Is(err, clade.NoSpace) {
		t.Errorf("Import error = %v, want kind NoSpace", err)
	}
	mustBeAbsent(t, dst)
}

func TestImportRefusesDestinations(t *testing.T) {
	src, taken := disk(t), place(t, []byte("mine"))
	if _, err := Import(t.Context(), Source{File: src}, taken, nil); !errors.Is(err, clade.Exists) {
		t.Errorf("Import error = %v, want kind Exists", err)
	}
	if b, err := os.ReadFile(taken); string(b) != "mine" {
		t.Errorf("the file that was there reads %q, %v", b, err)
	}
	if _, err := Import(t.Context(), Source{File: src}, "/proc/self/dst", nil); err == nil {
		t.Error("Import into a folder that cannot be written went through")
	}
}

func TestImportCancelled(t *testing.T) {
	src, dst := disk(t), filepath.Join(t.TempDir(), "dst")
	if err := os.Truncate(src, 1<<40); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Import(ctx, Source{File: src}, dst, func(e clade.Event) {
		if e.Step == "convert" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Import error = %v, want Canceled", err)
	}
	mustBeAbsent(t, dst)
}

func TestImportOfAnImageInUse(t *testing.T) {
	src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", src, "64M")
	user := exec.Command("qemu-io", "-f", "qcow2", src)
	stdin, err := user.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	user.Stdout = &out
	if err := user.Start(); err != nil {
		t.Fatal(err)
	}
	defer user.Wait()
	defer stdin.Close()
	fmt.Fprintln(stdin, "write 0 512")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if st, err := os.Stat(src); err == nil && st.Size() > 300<<10 {
			break // it has written: it holds the lock
		}
		if time.Now().After(end) {
			t.Fatal("qemu-io does not write")
		}
	}
	if _, err := Import(t.Context(), Source{File: src}, dst, nil); !errors.Is(err, clade.InUse) {
		t.Errorf("Import error = %v, want kind InUse", err)
	}
	mustBeAbsent(t, dst)
}

func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk(t), path)
	if err := Check(t.Context(), path); err != nil {
		t.Errorf("Check of a good image = %v", err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), path); !errors.Is(err, clade.Corrupt) {
		t.Errorf("Check of a cut image = %v, want kind Corrupt", err)
	}
}
