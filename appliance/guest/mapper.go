package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// activate makes devices of the logical volumes on the machine's disks, and adds
// them to the machine's volumes. Those that cannot be made are added too, as of a
// format that names what is in the way.
func (m *machine) activate() error {
	groups, physical, err := m.groups()
	if err != nil || len(groups) == 0 {
		return err
	}
	if err := m.server.mods.load("dm_mod"); err != nil {
		return err
	}
	for _, g := range groups {
		for _, l := range g.volumes {
			v := &volume{lv: g.name + "/" + l.name}
			m.volumes = append(m.volumes, v)
			table, why := l.table(physical)
			if why != "" {
				v.format = format(why)
				continue
			}
			name := m.server.deviceName()
			if v.device, err = mapDevice(name, table, m.write); err != nil {
				return fmt.Errorf("%s: %w", v, err)
			}
			m.devices = append(m.devices, name)
			if err := v.probe(); err != nil {
				return err
			}
		}
	}
	return nil
}

// deactivate removes the devices that activate made.
func (m *machine) deactivate() {
	for _, name := range m.devices {
		_, _ = mapper(dmRemove, name, 0, nil) // in use: stays until the end
	}
	m.devices = nil
}

// deviceName returns a name for a device of the device mapper.
func (s *server) deviceName() string { return fmt.Sprintf("clade%d", s.devices.Add(1)) }

// groups reads the volume groups, and where each physical volume is. Of several
// accounts of one group the newest counts.
func (m *machine) groups() (map[string]*group, map[string]*volume, error) {
	groups, physical := map[string]*group{}, map[string]*volume{}
	for _, v := range m.volumes {
		if v.format != lvm {
			continue
		}
		f, err := os.Open(v.device)
		if err != nil {
			return nil, nil, err
		}
		uuid, g, err := readPhysical(f)
		f.Close()
		if err != nil {
			m.note("%s: %v", v, err)
			continue
		}
		physical[uuid] = v
		if g != nil && (groups[g.name] == nil || groups[g.name].seqno < g.seqno) {
			groups[g.name] = g
		}
	}
	return groups, physical, nil
}

// missingDisk is the format of a logical volume that is in part on a disk that is
// not there.
const missingDisk = "LVM2 with a missing disk"

// table writes a logical volume as device-mapper wants it, or says why not.
func (l *logical) table(physical map[string]*volume) (table []target, why string) {
	if l.kind != "" || len(l.pieces) == 0 {
		return nil, "LVM2 " + l.kind
	}
	for _, p := range l.pieces {
		var params strings.Builder
		if len(p.stripes) > 1 {
			fmt.Fprintf(&params, "%d %d ", len(p.stripes), p.chunk)
		}
		for _, s := range p.stripes {
			v, ok := physical[s.pv]
			if !ok {
				return nil, missingDisk
			}
			fmt.Fprintf(&params, "%s %d ", v.device, s.start)
		}
		kind := "linear"
		if len(p.stripes) > 1 {
			kind = "striped"
		}
		table = append(table, target{p.start, p.length, kind, strings.TrimSpace(params.String())})
	}
	return table, ""
}

// A target is one line of a device-mapper table, in sectors of 512 bytes.
type target struct {
	start, length int64
	kind, params  string
}

// The requests of /dev/mapper/control that are used here, and its flag.
const (
	dmCreate   = 3
	dmRemove   = 4
	dmResume   = 6 // "suspend" without the flag to do so
	dmLoad     = 9
	dmReadOnly = 1
	dmHeader   = 312 // bytes of struct dm_ioctl
	dmRequest  = 0xc138fd00
)

// mapDevice makes a device of a table and returns its path.
func mapDevice(name string, table []target, write bool) (string, error) {
	var flags uint32
	if !write {
		flags = dmReadOnly
	}
	if _, err := mapper(dmCreate, name, flags, nil); err != nil {
		return "", err
	}
	if _, err := mapper(dmLoad, name, flags, table); err != nil {
		_, rerr := mapper(dmRemove, name, 0, nil)
		return "", errors.Join(err, rerr)
	}
	answer, err := mapper(dmResume, name, flags, nil)
	if err != nil {
		_, rerr := mapper(dmRemove, name, 0, nil)
		return "", errors.Join(err, rerr)
	}
	return fmt.Sprintf("/dev/dm-%d", unix.Minor(binary.LittleEndian.Uint64(answer[40:]))), nil
}

// mapper makes one request of the device mapper and returns its answer.
func mapper(request uint, name string, flags uint32, table []target) ([]byte, error) {
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	args := make([]byte, dmHeader)
	for i, word := range []uint32{4, 0, 0, 0, dmHeader, uint32(len(table)), 0, flags} {
		binary.LittleEndian.PutUint32(args[4*i:], word)
	}
	copy(args[48:48+127], name)
	for _, t := range table {
		args = append(args, t.bytes()...)
	}
	args = append(args, make([]byte, 1024)...) // room for the answer
	binary.LittleEndian.PutUint32(args[12:], uint32(len(args)))
	if err := ioctl(control, dmRequest|request, args); err != nil {
		return nil, fmt.Errorf("device mapper request %d: %w", request, err)
	}
	return args, nil
}

// bytes returns the target as a struct dm_target_spec with its parameters.
func (t target) bytes() []byte {
	size := (40 + len(t.params) + 1 + 7) &^ 7
	b := make([]byte, size)
	binary.LittleEndian.PutUint64(b, uint64(t.start))
	binary.LittleEndian.PutUint64(b[8:], uint64(t.length))
	binary.LittleEndian.PutUint32(b[20:], uint32(size))
	copy(b[24:40], t.kind)
	copy(b[40:], t.params)
	return b
}
