package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A group is a volume group: what a physical volume says about all of them.
type group struct {
	name    string
	seqno   int64
	volumes []logical
}

// A logical is a logical volume: runs of sectors of physical volumes.
type logical struct {
	name   string
	kind   string // of the first segment that is not supported, or ""
	pieces []piece
}

// A piece is one segment of a logical volume: sectors striped over one or more
// physical volumes. Units are sectors of 512 bytes.
type piece struct {
	start, length int64
	chunk         int64 // sectors in a row on each stripe; 0 for a single one
	stripes       []stripe
}

// A stripe is where the sectors of a piece begin on a physical volume.
type stripe struct {
	pv    string // its UUID, without hyphens
	start int64
}

const (
	lvmMagic   = "\x20LVM2\x20x[5A%r0N*>"
	maxLVMText = 4 << 20 // bytes
	maxStripes = 64
)

// readPhysical reads a physical volume: its own UUID, and the group it belongs to,
// which is nil if it is in none.
func readPhysical(r io.ReaderAt) (string, *group, error) {
	head := make([]byte, 2048)
	if _, err := r.ReadAt(head, 0); err != nil {
		return "", nil, err
	}
	for at := 0; at < len(head); at += 512 {
		if label := head[at : at+512]; string(label[:8]) == "LABELONE" && string(label[24:32]) == "LVM2 001" {
			return readLabel(r, label)
		}
	}
	return "", nil, fmt.Errorf("%w: no label", errLVM)
}

// readLabel follows the label's list of metadata areas to the text.
func readLabel(r io.ReaderAt, label []byte) (string, *group, error) {
	at := int(binary.LittleEndian.Uint32(label[20:]))
	if at < 32 || at > 400 {
		return "", nil, fmt.Errorf("%w: label", errLVM)
	}
	uuid := string(label[at : at+32])
	lists := 0
	for at += 40; at+16 <= len(label) && lists < 2; at += 16 {
		offset, size := binary.LittleEndian.Uint64(label[at:]), binary.LittleEndian.Uint64(label[at+8:])
		switch {
		case offset == 0:
			lists++ // data areas end, then metadata areas do
		case lists == 1:
			text, err := readArea(r, int64(offset), int64(size))
			if err != nil || text == "" {
				return uuid, nil, err
			}
			g, err := parseGroup(text)
			return uuid, g, err
		}
	}
	return uuid, nil, nil
}

// readArea returns the newest text of a metadata area, which is a ring.
func readArea(r io.ReaderAt, start, size int64) (string, error) {
	head := make([]byte, 512)
	if start < 0 || size < 1024 {
		return "", fmt.Errorf("%w: area", errLVM)
	}
	if _, err := r.ReadAt(head, start); err != nil {
		return "", err
	}
	if string(head[4:20]) != lvmMagic {
		return "", fmt.Errorf("%w: area header", errLVM)
	}
	at, length := int64(binary.LittleEndian.Uint64(head[40:])), int64(binary.LittleEndian.Uint64(head[48:]))
	if at == 0 {
		return "", nil
	}
	if at < 512 || at >= size || length < 0 || length > maxLVMText || length > size-512 {
		return "", fmt.Errorf("%w: text", errLVM)
	}
	text := make([]byte, length)
	first := min(length, size-at)
	if _, err := r.ReadAt(text[:first], start+at); err != nil {
		return "", err
	}
	if _, err := r.ReadAt(text[first:], start+512); err != nil && first < length {
		return "", err
	}
	return string(text), nil
}

// parseGroup reads the text about one volume group.
func parseGroup(text string) (*group, error) {
	top, err := parseLVM(text)
	if err != nil {
		return nil, err
	}
	for name, v := range top {
		vg, ok := v.(section)
		if !ok || vg.sub("physical_volumes") == nil {
			continue
		}
		if !lvmName(name) {
			return nil, fmt.Errorf("%w: name of the group", errLVM)
		}
		g := &group{name: name}
		if g.seqno, err = vg.number("seqno"); err != nil {
			return nil, err
		}
		return g, g.read(vg)
	}
	return nil, fmt.Errorf("%w: no group", errLVM)
}

func (g *group) read(vg section) error {
	extent, err := vg.number("extent_size")
	if err != nil || extent == 0 || extent > 1<<30 {
		return fmt.Errorf("%w: extent_size", errLVM)
	}
	begins := map[string]stripe{} // where the extents of each physical volume begin
	pvs := vg.sub("physical_volumes")
	for name := range pvs {
		pv := pvs.sub(name)
		id, _ := pv["id"].(string)
		start, err := pv.number("pe_start")
		if err != nil {
			return err
		}
		begins[name] = stripe{pv: strings.ReplaceAll(id, "-", ""), start: start}
	}
	lvs := vg.sub("logical_volumes")
	for _, name := range slices.Sorted(maps.Keys(lvs)) {
		lv := lvs.sub(name)
		status, _ := lv["status"].([]any)
		if !lvmName(name) || !slices.Contains(status, any("VISIBLE")) {
			continue // a part of another one
		}
		l := logical{name: name}
		if err := l.read(lv, extent, begins); err != nil {
			return err
		}
		g.volumes = append(g.volumes, l)
	}
	return nil
}

func (l *logical) read(lv section, extent int64, begins map[string]stripe) error {
	count, err := lv.number("segment_count")
	if err != nil || count > 10_000 {
		return fmt.Errorf("%w: segment_count", errLVM)
	}
	for i := int64(1); i <= count; i++ {
		s := lv.sub(fmt.Sprintf("segment%d", i))
		if kind, _ := s["type"].(string); kind != "striped" {
			l.kind = printable(kind, 20)
			return nil
		}
		p, err := readPiece(s, extent, begins)
		if err != nil {
			return err
		}
		l.pieces = append(l.pieces, p)
	}
	slices.SortFunc(l.pieces, func(a, b piece) int { return int(max(-1, min(1, a.start-b.start))) })
	return nil
}

func readPiece(s section, extent int64, begins map[string]stripe) (p piece, err error) {
	start, err1 := s.number("start_extent")
	length, err2 := s.number("extent_count")
	if err := errors.Join(err1, err2); err != nil {
		return p, err
	}
	list, _ := s["stripes"].([]any)
	if len(list) == 0 || len(list)%2 != 0 || len(list) > 2*maxStripes || start > 1<<31 || length > 1<<31 {
		return p, fmt.Errorf("%w: stripes", errLVM)
	}
	p = piece{start: start * extent, length: length * extent}
	if len(list) > 2 {
		if p.chunk, err = s.number("stripe_size"); err != nil {
			return p, err
		}
	}
	for ; len(list) > 0; list = list[2:] {
		name, _ := list[0].(string)
		at, ok := list[1].(int64)
		begin, known := begins[name]
		if !known || !ok || at < 0 || at > 1<<31 {
			return p, fmt.Errorf("%w: stripe", errLVM)
		}
		begin.start += at * extent
		p.stripes = append(p.stripes, begin)
	}
	return p, nil
}

// lvmName reports whether LVM itself would allow the name.
func lvmName(s string) bool {
	return s != "" && len(s) <= 127 && s[0] != '-' && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+_.-", r))
	})
}
