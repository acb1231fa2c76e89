package image

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/clade-vm/clade"
)

// FuzzVet gives the readers of foreign headers whatever there may be: they refuse
// with a kind, or say that qemu-img may look.
func FuzzVet(f *testing.F) {
	text := "# Disk DescriptorFile\ncreateType=\"monolithicSparse\"\nparentCID=ffffffff\nRW 2048 SPARSE \"x.vmdk\"\n"
	f.Add(sparseVMDK(2048, text))
	f.Add([]byte(text))
	f.Add(marked(512, 0x4c, "\x01"))
	f.Add(marked(1024, 512, "conectix"))
	f.Add(vhdx(0))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for _, format := range []Format{QCOW2, Raw, VMDK, VDI, VHDX, VHD} {
			switch kind := clade.KindOf(vet(file, int64(len(data)), format)); kind {
			case "", clade.Corrupt, clade.Unsupported, clade.Invalid:
			default:
				t.Errorf("vet as %s: an error of kind %q", format, kind)
			}
		}
	})
}

// vhdx is what vetVHDX reads of a VHDX, with the given bits of its parameters.
func vhdx(bits byte) []byte {
	const metadata, item = 256 << 10, 64 << 10
	b := make([]byte, metadata+item+8)
	le := binary.LittleEndian
	copy(b[vhdxRegions:], "regi")
	b[vhdxRegions+8] = 1
	copy(b[vhdxRegions+16:], vhdxMetadata)
	le.PutUint64(b[vhdxRegions+32:], metadata)
	copy(b[metadata:], "metadata")
	b[metadata+10] = 1
	copy(b[metadata+32:], vhdxParameters)
	le.PutUint32(b[metadata+48:], item)
	b[metadata+item+4] = bits
	return b
}

func TestVetVHDX(t *testing.T) {
	lost, many := vhdx(0), vhdx(0)
	copy(lost[vhdxRegions+16:], "another thing")
	many[vhdxRegions+9] = 0xff
	far := vhdx(0)
	far[vhdxRegions+32+7] = 0x80
	for _, c := range []struct {
		name    string
		content []byte
		kind    clade.Kind
	}{
		{"by itself", vhdx(0), ""},
		{"with blocks left allocated", vhdx(1), ""},
		{"on a parent", vhdx(2), clade.Unsupported},
		{"without metadata", lost, clade.Corrupt},
		{"of too many regions", many, clade.Corrupt},
		{"with metadata at 2^63", far, clade.Corrupt},
		{"cut short", vhdx(0)[:300<<10], clade.Corrupt},
	} {
		if err := vetFile(t, c.content, VHDX); clade.KindOf(err) != c.kind {
			t.Errorf("%s: vet = %v, want kind %q", c.name, err, c.kind)
		}
	}
}
