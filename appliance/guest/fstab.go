package guest

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// A line is one entry of a guest's fstab, in so far as it makes sense here.
type line struct {
	spec   string // what to mount: "UUID=...", "/dev/sda1"
	dir    string // where: absolute and clean
	kind   string
	subvol string // btrfs: the subvolume's path, or its number after "#"
	lax    bool   // nofail or noauto: the guest boots without it
}

const (
	maxFstab = 256 << 10 // bytes
	maxLines = 256
)

// parseFstab returns the entries of a guest's fstab that could be on its disks,
// those nearest to the root first. What makes no sense is left out, like comments.
func parseFstab(text string) []line {
	var lines []line
	for raw := range strings.Lines(text) {
		l, ok := parseLine(raw)
		if ok && len(lines) < maxLines {
			lines = append(lines, l)
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return depth(a.dir) - depth(b.dir) })
	return lines
}

func depth(dir string) int {
	if dir == "/" {
		return 0
	}
	return strings.Count(dir, "/")
}

func parseLine(raw string) (line, bool) {
	fields := strings.Fields(raw)
	if len(fields) < 3 || strings.HasPrefix(fields[0], "#") {
		return line{}, false
	}
	l := line{spec: unescape(fields[0]), dir: unescape(fields[1]), kind: fields[2]}
	if !slices.Contains([]string{"auto", "ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "msdos"}, l.kind) {
		return line{}, false
	}
	if !plain(l.spec) || !plain(l.dir) || !strings.HasPrefix(l.dir, "/") {
		return line{}, false
	}
	if strings.HasPrefix(l.spec, "/dev/sr") || strings.HasPrefix(l.spec, "/dev/cdrom") || strings.HasPrefix(l.spec, "/dev/fd") {
		return line{}, false // a drive for media, not a disk
	}
	l.dir = path.Clean(l.dir)
	if len(fields) > 3 && !l.options(fields[3]) {
		return line{}, false
	}
	return l, true
}

// options reads what matters of an entry's options; none of them is passed on to
// the kernel but the subvolume, which is validated here.
func (l *line) options(list string) bool {
	for option := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "nofail", "noauto":
			l.lax = true
		case "bind", "rbind", "loop":
			return false // not a volume
		case "subvol":
			if !plain(value) || strings.ContainsAny(value, ",\\\"'") {
				return false
			}
			l.subvol = value
		case "subvolid":
			if _, err := strconv.ParseUint(value, 10, 64); err != nil {
				return false
			}
			if l.subvol == "" {
				l.subvol = "#" + value
			}
		}
	}
	return true
}

// plain reports whether s is a short text without control characters.
func plain(s string) bool {
	return s != "" && len(s) <= 1024 && printable(s, len(s)) == s
}

// unescape resolves the octal escapes of fstab, and takes quotes away.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		if s[i] != '"' {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// find returns the volume that an entry means, or nil.
func find(volumes []*volume, spec string) *volume {
	for _, v := range volumes {
		if v.means(spec) {
			return v
		}
	}
	return nil
}

// means reports whether a guest that has this volume calls it spec.
func (v *volume) means(spec string) bool {
	if dir, name, ok := strings.Cut(strings.TrimPrefix(spec, "/dev/disk/by-"), "/"); ok && strings.HasPrefix(spec, "/dev/disk/by-") {
		spec = strings.ToUpper(dir) + "=" + strings.ReplaceAll(name, `\x20`, " ")
	}
	key, value, tagged := strings.Cut(spec, "=")
	if !tagged {
		return v.lv != "" && v.isLogical(spec) || v.lv == "" && v.isKernelName(spec)
	}
	if value == "" {
		return false
	}
	switch key {
	case "UUID":
		return strings.EqualFold(v.uuid, value)
	case "LABEL":
		return v.label == value
	case "PARTUUID":
		return strings.EqualFold(v.tag.uuid, value)
	case "PARTLABEL":
		return v.tag.label == value
	}
	return false
}

// isLogical knows the two names of a logical volume: /dev/group/volume and
// /dev/mapper/group-volume, where hyphens within the parts are doubled.
func (v *volume) isLogical(spec string) bool {
	group, name, _ := strings.Cut(v.lv, "/")
	double := func(s string) string { return strings.ReplaceAll(s, "-", "--") }
	return spec == "/dev/"+v.lv || spec == "/dev/mapper/"+double(group)+"-"+double(name)
}

// isKernelName knows /dev/sda1, /dev/vdb, /dev/nvme0n1p2 and their like: the
// letter or number of a disk is taken as its slot.
func (v *volume) isKernelName(spec string) bool {
	name, ok := strings.CutPrefix(spec, "/dev/")
	if !ok {
		return false
	}
	part := ""
	if v.part > 0 {
		part = strconv.Itoa(v.part)
	}
	for _, prefix := range []string{"sd", "vd", "xvd", "hd"} {
		if v.disk < 26 && name == prefix+string(rune('a'+v.disk))+part {
			return true
		}
	}
	if part != "" {
		part = "p" + part
	}
	disk := strconv.Itoa(v.disk)
	return name == "nvme"+disk+"n1"+part || name == "mmcblk"+disk+part
}
