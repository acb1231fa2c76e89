package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/recipe"
)

func testRecipe(t *testing.T, more string) *recipe.Recipe {
	t.Helper()
	r, err := recipe.Parse([]byte("name: web\nsuite: bookworm\n" + more))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// draft returns a build whose boot loader's files are there, as configure.sh
// would have left them.
func draft(t *testing.T, r *recipe.Recipe) *build {
	t.Helper()
	b := &build{Options: Options{Recipe: r}, dir: t.TempDir(), layout: plan(r)}
	b.raw = b.path("disk.raw")
	disk, err := b.blank()
	if err != nil {
		t.Fatal(err)
	}
	disk.Close()
	files := map[string]string{
		"boot/boot.img":    strings.Repeat("b", sector),
		"boot/core.img":    strings.Repeat("c", 100*sector+7),
		"boot/BOOTX64.EFI": strings.Repeat("shim", 250_000),
		"boot/grubx64.efi": strings.Repeat("grub", 1_000_000),
		"boot/mmx64.efi":   "mokmanager",
	}
	w, err := os.Create(b.path("boot.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := writeFiles(w, files); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		boot       string
		bios, esp  int64
		rootStarts int64
	}{
		{"[bios, uefi]", 1 << 20, 63 << 20, 65 << 20},
		{"[bios]", 1 << 20, 0, 2 << 20},
		{"[uefi]", 0, 63 << 20, 64 << 20},
	} {
		l := plan(testRecipe(t, "size: 4G\nboot: "+tt.boot+"\n"))
		if l.bios.size != tt.bios || l.esp.size != tt.esp || l.root.start != tt.rootStarts {
			t.Errorf("plan for %s = %+v", tt.boot, l)
		}
		if end := l.root.start + l.root.size; end != l.disk-align || l.disk != 4<<30 {
			t.Errorf("plan for %s: the root partition ends at %d of %d", tt.boot, end, l.disk)
		}
	}
}

func TestWriteBoot(t *testing.T) {
	b := draft(t, testRecipe(t, "size: 4G\n"))
	if err := b.writeBoot(); err != nil {
		t.Fatal(err)
	}
	disk, err := os.Open(b.raw)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	read := func(off int64, n int) []byte {
		t.Helper()
		data := make([]byte, n)
		if _, err := disk.ReadAt(data, off); err != nil {
			t.Fatal(err)
		}
		return data
	}

	first := read(0, sector)
	if got := binary.LittleEndian.Uint64(first[0x5c:]); got != uint64(b.layout.bios.start/sector) {
		t.Errorf("the boot sector loads sector %d, want %d", got, b.layout.bios.start/sector)
	}
	if first[0x66] != 0x90 || first[0x67] != 0x90 || first[0] != 'b' || first[tableAt-1] != 'b' || first[450] != 0xee {
		t.Errorf("boot sector = % x", first)
	}
	core := read(b.layout.bios.start, 102*sector)
	if got := binary.LittleEndian.Uint64(core[0x1f4:]); got != uint64(b.layout.bios.start/sector)+1 {
		t.Errorf("core.img goes on at sector %d", got)
	}
	if got := binary.LittleEndian.Uint16(core[0x1fc:]); got != 100 {
		t.Errorf("core.img goes on for %d sectors, want 100", got)
	}
	if got := binary.LittleEndian.Uint16(core[0x1fe:]); got != 0x820 {
		t.Errorf("core.img goes on in segment %#x, want 0x820", got)
	}

	table, err := gpt.Read(unsynced{disk}, sector, sector)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int
	for _, p := range table.Partitions {
		if p.Type != gpt.Unused {
			numbers = append(numbers, p.Index)
		}
	}
	if slices.Sort(numbers); !slices.Equal(numbers, []int{1, 14, 15}) {
		t.Errorf("partitions %v, want 1, 14, 15", numbers)
	}

	fs, err := fat32.Read(unsynced{disk}, b.layout.esp.size, b.layout.esp.start, sector)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := fs.ReadFile("EFI/BOOT/grubx64.efi"); err != nil || string(data) != strings.Repeat("grub", 1_000_000) {
		t.Errorf("grubx64.efi has %d bytes, %v", len(data), err)
	}
	if data, err := fs.ReadFile("EFI/debian/grub.cfg"); err != nil || !strings.Contains(string(data), b.root.String()) {
		t.Errorf("grub.cfg = %q, %v", data, err)
	}
}

func TestWriteBootRefuses(t *testing.T) {
	var nowhere discard
	p := part{start: 1 << 20, size: 1 << 20}
	good := make([]byte, 4*sector)
	for about, images := range map[string][2][]byte{
		"no boot.img":    {nil, good},
		"long boot.img":  {make([]byte, 2*sector), good},
		"no core.img":    {make([]byte, sector), nil},
		"short core.img": {make([]byte, sector), make([]byte, sector)},
		"large core.img": {make([]byte, sector), make([]byte, p.size+1)},
	} {
		if err := writeBIOS(nowhere, p, images[0], images[1]); err == nil {
			t.Errorf("%s: no error", about)
		}
	}
	b := draft(t, testRecipe(t, "boot: [uefi]\n"))
	w, err := os.Create(b.path("boot.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := writeFiles(w, map[string]string{"boot/BOOTX64.EFI": "x"}); err != nil {
		t.Fatal(err)
	}
	if err := b.writeBoot(); err == nil || !strings.Contains(err.Error(), "grubx64.efi is missing") {
		t.Errorf("without grubx64.efi: error = %v", err)
	}
}

type discard struct{}

func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

func TestFiles(t *testing.T) {
	b := draft(t, testRecipe(t, "user: ann\nrun: [\"echo one\", \"echo two\"]\n"))
	var out bytes.Buffer
	if err := writeFiles(&out, b.files()); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]string)
	for tr := tar.NewReader(&out); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := seen[h.Name]; twice || h.Uid != 0 || h.Gid != 0 || strings.HasPrefix(h.Name, "/") {
			t.Errorf("entry %+v", h)
		}
		if parent := filepath.Dir(strings.TrimSuffix(h.Name, "/")) + "/"; parent != "./" {
			if _, ok := seen[parent]; !ok {
				t.Errorf("%s comes before %s", h.Name, parent)
			}
		}
		text, _ := io.ReadAll(tr)
		seen[h.Name] = string(text)
	}
	for name, want := range map[string]string{
		"etc/fstab":                          b.root.String(),
		"etc/cloud/cloud.cfg.d/90-clade.cfg": "name: ann\n",
		"clade-build/run.sh":                 "echo one\necho two\n",
		"etc/hostname":                       "web\n",
	} {
		if !strings.Contains(seen[name], want) {
			t.Errorf("%s = %q, want %q in it", name, seen[name], want)
		}
	}
	if !strings.Contains(seen["etc/fstab"], b.layout.esp.id.String()) {
		t.Errorf("fstab = %q, want the EFI system partition in it", seen["etc/fstab"])
	}
}

func TestCommand(t *testing.T) {
	b := draft(t, testRecipe(t, "packages: [vim]\nmirror: http://10.0.0.1/debian\n"))
	b.dir = "/a dir/with 'quotes'"
	args := b.command()
	if !slices.Contains(args, `--customize-hook=tar-in '/a dir/with '\''quotes'\''/files.tar' /`) {
		t.Errorf("arguments = %q, want the directory quoted", args)
	}
	if n := len(args); !slices.Equal(args[n-3:], []string{"bookworm", "/dev/null", "http://10.0.0.1/debian"}) {
		t.Errorf("arguments end with %q", args[n-3:])
	}
	for _, boot := range []struct{ ways, with, without string }{
		{"[bios]", "grub-pc-bin", "shim-signed"},
		{"[uefi]", "shim-signed", "grub-pc-bin"},
		{"[bios, uefi]", "grub-cloud-amd64", "shim-signed"},
	} {
		got := packages(testRecipe(t, "packages: [vim]\nboot: "+boot.ways+"\n"))
		if !slices.Contains(got, boot.with) || slices.Contains(got, boot.without) || !slices.Contains(got, "vim") || !slices.IsSorted(got) {
			t.Errorf("packages for %s = %v", boot.ways, got)
		}
	}
}

func TestBuildRefusesBadRecipe(t *testing.T) {
	r := testRecipe(t, "")
	r.Packages = []string{"--foo"}
	if err := Build(context.Background(), Options{Recipe: r, Work: t.TempDir()}, nil); !errors.Is(err, clade.Invalid) {
		t.Errorf("error = %v, want %v", err, clade.Invalid)
	}
}

func TestFailedHasKind(t *testing.T) {
	o := &Options{Recipe: testRecipe(t, "")}
	for _, tt := range []struct {
		err  error
		want clade.Kind
	}{
		{context.Canceled, clade.Timeout},
		{fmt.Errorf("write: %w", syscall.ENOSPC), clade.NoSpace},
		{fmt.Errorf("open: %w", syscall.EACCES), clade.Denied},
		{fmt.Errorf("open: %w", syscall.ENOENT), clade.NotFound},
		{&clade.Error{Kind: clade.Missing, Hint: "do this"}, clade.Missing},
		{errors.New("odd"), clade.Internal},
	} {
		if err := o.failed(tt.err); clade.KindOf(err) != tt.want || clade.HintOf(err) != clade.HintOf(tt.err) {
			t.Errorf("failed(%v) = %v of kind %v, want %v", tt.err, err, clade.KindOf(err), tt.want)
		}
	}
}
