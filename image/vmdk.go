package image

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"os"
	"strings"

	"github.com/clade-vm/clade"
)

const (
	vmdkSector     = 512
	vmdkDescriptor = 1 * vmdkSector  // where QEMU looks for a parent, whatever the header says
	vmdkParentArea = 20 * vmdkSector // and how far
	vmdkMaxText    = 1 << 20
	vmdkAdvice     = "make one sparse file of it: qemu-img convert -f vmdk -O qcow2 OLD.vmdk NEW.qcow2, or ovftool"
)

// vetVMDK takes only what VMware calls monolithicSparse and streamOptimized: one
// file with its descriptor in it, whose only extent is the file itself. All other
// kinds are lists of files that the host would open by name.
func vetVMDK(f *os.File, size int64) error {
	header, err := read(f, 0, min(size, vmdkSector))
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	switch {
	case bytes.HasPrefix(header, []byte("# Disk Desc")):
		text, err := read(f, 0, min(size, vmdkMaxText))
		if err != nil {
			return err
		}
		return refusal(clade.Unsupported, vmdkAdvice, "a VMDK descriptor, whose data lies in other files%s", firstExtent(text))
	case bytes.HasPrefix(header, []byte("COWD")):
		return refusal(clade.Unsupported, vmdkAdvice, "an ESX redo log or COWD disk")
	case len(header) < vmdkSector:
		return refusal(clade.Corrupt, "", "the file is cut short: it ends within its header")
	}
	capacity, at, length := le.Uint64(header[12:]), le.Uint64(header[28:]), le.Uint64(header[36:])
	switch {
	case capacity == 0:
		return refusal(clade.Unsupported, vmdkAdvice, "a VMDK header without a disk, which stands for other files")
	case at == 0 || length == 0:
		return refusal(clade.Unsupported, vmdkAdvice, "a VMDK without a descriptor: one part of a disk in several files")
	case at > uint64(size)/vmdkSector || length > vmdkMaxText/vmdkSector:
		return refusal(clade.Corrupt, "", "the VMDK descriptor lies beyond the file, or has %d sectors", length)
	}
	text, err := read(f, int64(at)*vmdkSector, int64(length)*vmdkSector)
	if err != nil {
		return err
	}
	// QEMU reads the parent's name from this place.
	area, err := read(f, vmdkDescriptor, min(size-vmdkDescriptor, vmdkParentArea))
	if err != nil {
		return err
	}
	return vetDescriptor(text, area)
}

func vetDescriptor(text, area []byte) error {
	for _, b := range [][]byte{text, area} {
		if bytes.Contains(bytes.ToLower(b), []byte("parentfilenamehint")) {
			return refusal(clade.Unsupported, differencing, "a VMDK that rests on another file")
		}
	}
	d := parseDescriptor(text)
	switch kind := strings.ToLower(d.values["createtype"]); {
	case d.values["encryption.keysafe"] != "":
		return refusal(clade.Unsupported, "decrypt it where its key is", "the VMDK is encrypted")
	case kind != "monolithicsparse" && kind != "streamoptimized":
		return refusal(clade.Unsupported, vmdkAdvice, "a VMDK of the kind %.40q", d.values["createtype"])
	case d.values["parentcid"] != "" && !strings.EqualFold(d.values["parentcid"], "ffffffff"):
		return refusal(clade.Unsupported, differencing, "a VMDK that rests on another file (parent %.20q)", d.values["parentcid"])
	case len(d.extents) != 1:
		return refusal(clade.Unsupported, vmdkAdvice, "a VMDK of %d extents%s", len(d.extents), firstExtent(text))
	}
	e := d.extents[0]
	if !strings.EqualFold(e.kind, "SPARSE") || strings.ContainsAny(e.file, `/\`) || e.file == ".." {
		return refusal(clade.Unsupported, vmdkAdvice, "a VMDK whose data lies in another file, %.200q", e.file)
	}
	return nil
}

// A descriptor is the text part of a VMDK.
type descriptor struct {
	values  map[string]string // by lower-case key
	extents []extent
}

// An extent is one line of it: RW 2048 SPARSE "disk.vmdk".
type extent struct{ kind, file string }

func parseDescriptor(text []byte) descriptor {
	d := descriptor{values: map[string]string{}}
	text, _, _ = bytes.Cut(text, []byte{0})
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, vmdkMaxText)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if words := strings.Fields(line); len(words) >= 3 && (words[0] == "RW" || words[0] == "RDONLY" || words[0] == "NOACCESS") {
			_, name, _ := strings.Cut(line, `"`)
			name, _, _ = strings.Cut(name, `"`)
			d.extents = append(d.extents, extent{words[2], name})
			continue
		}
		if key, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			d.values[strings.ToLower(strings.TrimSpace(key))] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return d
}

// firstExtent names the first file that a descriptor lists, for the error.
func firstExtent(text []byte) string {
	if d := parseDescriptor(text); len(d.extents) > 0 {
		e := d.extents[0].file
		return " (" + strings.ToValidUTF8(e[:min(len(e), 200)], "?") + ")"
	}
	return ""
}
