package store

import (
	"cmp"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clade-vm/clade"
)

// A Machine is the record of a machine: the part of clade.Machine that is
// stored (not State, Reason, PID and depths) and what faces never see.
type Machine struct {
	clade.Machine
	Heads    []string // the file names of the heads, by the index of Disks
	UserData []byte
	SSHKeys  []string
}

const machineColumns = `id, name, clone, source, uuid, mac, ip, hostname, instance_id, network, hardware, user, user_data, ssh_keys, machine_id, isolated, warm, asleep, created`

// Machines returns all machines by name.
func (tx *Tx) Machines() ([]*Machine, error) {
	list, err := tx.Bare()
	if err != nil {
		return nil, err
	}
	return list, tx.AddDisks(list)
}

// Bare returns all machines by name without their disks, for who has something to do
// with them while AddDisks reads those.
func (tx *Tx) Bare() ([]*Machine, error) {
	list, err := tx.bare("")
	slices.SortFunc(list, func(a, b *Machine) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list, err
}

// Machine returns one machine. Kind NotFound.
func (tx *Tx) Machine(name clade.Name) (*Machine, error) {
	list, err := tx.machines("WHERE name = ?", string(name))
	if err == nil && len(list) == 0 {
		err = &clade.Error{Op: "find", On: "machine " + string(name), Kind: clade.NotFound,
			Hint: "clade ls shows the machines there are"}
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func (tx *Tx) machines(where string, args ...any) ([]*Machine, error) {
	list, err := tx.bare(where, args...)
	if err != nil {
		return nil, err
	}
	return list, tx.AddDisks(list)
}

func (tx *Tx) bare(where string, args ...any) (list []*Machine, err error) {
	s := newScanner()
	err = tx.all(func(rows *sql.Rows) error {
		m, err := s.machine(rows)
		list = append(list, m)
		return err
	}, "SELECT "+packedMachine+", user_data FROM machines "+where, args...)
	return list, err
}

// AddDisks adds to bare machines their disks and heads. It changes nothing else.
func (tx *Tx) AddDisks(list []*Machine) error {
	if len(list) == 0 {
		return nil
	}
	filter, arg := "", []any(nil)
	if len(list) == 1 {
		filter, arg = "WHERE machine = ?", []any{list[0].ID}
	}
	byID := make(map[string]*Machine, len(list))
	for _, m := range list {
		byID[m.ID] = m
	}
	return tx.all(func(rows *sql.Rows) error {
		id, d, head, err := scanDisk(rows)
		if m := byID[id]; m != nil {
			m.Disks, m.Heads = append(m.Disks, d), append(m.Heads, head)
		}
		return err
	}, "SELECT "+packedDisk+" FROM disks "+filter+" ORDER BY machine, slot", arg...)
}

// Rows of machines and disks are read as one text each, with what clade itself made
// in it; what people wrote is beside it. The driver makes a value of each column,
// which for thousands of machines took longer than all else.
const (
	packedMachine = `concat_ws(char(31), id, name, clone, uuid, coalesce(mac, ''), coalesce(hex(ip), ''), hostname, instance_id, network,
		hardware, ssh_keys, machine_id, isolated, coalesce(warm, ''), asleep, created, octet_length(source), source || user)`
	packedDisk = `concat_ws(char(31), machine, head, slot, serial, coalesce(layer, ''), coalesce(base, ''), virtual,
		octet_length(label), label || mount)`
)

// packed is what is left of a packed row. err says that it is not one.
type packed struct {
	rest string
	done bool
	err  error
}

func (p *packed) text() string {
	if p.done {
		p.err = errors.New("its record has too few values")
	}
	text, rest, more := strings.Cut(p.rest, "\x1f")
	p.rest, p.done = rest, !more
	return text
}

func (p *packed) number() int64 {
	n, err := strconv.ParseInt(p.text(), 10, 64)
	p.err = cmp.Or(p.err, err)
	return n
}

// texts returns the two texts at the end, of which the length of the first is told.
func (p *packed) texts() (first, second string) {
	n := int(p.number())
	if n < 0 || n > len(p.rest) {
		p.err = cmp.Or(p.err, errors.New("its record has too few values"))
		return "", ""
	}
	return p.rest[:n], p.rest[n:]
}

func (p *packed) address() netip.Addr {
	bytes, err := hex.DecodeString(p.text())
	p.err = cmp.Or(p.err, err)
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// A scanner reads rows of machines. Thousands of clones have the same hardware and
// keys, which are parsed once.
type scanner struct {
	hardware map[string]clade.Hardware
	keys     map[string][]string
}

func newScanner() *scanner {
	return &scanner{hardware: make(map[string]clade.Hardware), keys: make(map[string][]string)}
}

// parsed returns what text says, from known where that has it.
func parsed[T any](known map[string]T, text string) (T, error) {
	v, is := known[text]
	if is {
		return v, nil
	}
	err := json.Unmarshal([]byte(text), &v)
	if err == nil {
		known[text] = v
	}
	return v, err
}

func scanDisk(rows *sql.Rows) (machine string, d clade.Disk, head string, err error) {
	var p packed
	if err := rows.Scan(&p.rest); err != nil {
		return "", d, "", err
	}
	machine, head = p.text(), p.text()
	d.Slot, d.Serial, d.Layer, d.Base, d.Virtual = int(p.number()), p.text(), p.text(), p.text(), clade.Bytes(p.number())
	d.Label, d.Mount = p.texts()
	return machine, d, head, p.err
}

func (s *scanner) machine(rows *sql.Rows) (*Machine, error) {
	var m Machine
	var p packed
	if err := rows.Scan(&p.rest, &m.UserData); err != nil {
		return nil, err
	}
	m.ID, m.Name, m.Clone = p.text(), clade.Name(p.text()), clade.CloneKind(p.text())
	m.Identity.UUID, m.Identity.MAC, m.Identity.IP = p.text(), p.text(), p.address()
	m.Identity.Hostname, m.Identity.InstanceID, m.Network = clade.Name(p.text()), p.text(), p.text()
	hardware, keys := p.text(), p.text()
	m.MachineID, m.Isolated, m.Warm, m.Asleep = p.text(), p.number() != 0, p.text(), p.number() != 0
	m.Created = time.Unix(0, p.number()).UTC()
	m.Source, m.User = p.texts()
	if p.err != nil {
		return nil, fmt.Errorf("machine %s: %w", m.Name, p.err)
	}
	var err error
	if m.Hardware, err = parsed(s.hardware, hardware); err != nil {
		return nil, fmt.Errorf("machine %s: hardware: %w", m.Name, err)
	}
	shared, err := parsed(s.keys, keys)
	m.SSHKeys = slices.Clone(shared)
	return &m, err
}

// AddMachine records a new machine. Kinds: Exists, with what is taken; InUse
// where a layer it rests on is gone.
func (tx *Tx) AddMachine(m *Machine) error {
	hardware, err := json.Marshal(m.Hardware)
	if err != nil {
		return err
	}
	keys, err := json.Marshal(m.SSHKeys)
	if err != nil {
		return err
	}
	var ip any
	if m.Identity.IP.IsValid() {
		ip = m.Identity.IP.AsSlice()
	}
	_, err = tx.exec("INSERT INTO machines ("+machineColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		m.ID, string(m.Name), string(m.Clone), m.Source, m.Identity.UUID, null(m.Identity.MAC), ip,
		string(m.Identity.Hostname), m.Identity.InstanceID, m.Network, string(hardware), m.User, m.UserData, string(keys), m.MachineID, m.Isolated, null(m.Warm), m.Asleep, m.Created.UnixNano())
	if err != nil {
		return tx.taken(m, err)
	}
	for i, d := range m.Disks {
		if _, err := tx.exec("INSERT INTO disks (machine, slot, serial, head, layer, base, virtual, label, mount) VALUES (?,?,?,?,?,?,?,?,?)",
			m.ID, d.Slot, d.Serial, m.Heads[i], null(d.Layer), null(d.Base), int64(d.Virtual), d.Label, d.Mount); err != nil {
			return explain("record", "disk of machine "+string(m.Name), err)
		}
	}
	return nil
}

// taken words a refused machine: the name first, as people know that one.
func (tx *Tx) taken(m *Machine, err error) error {
	e := &clade.Error{Op: "create", On: "machine " + string(m.Name), Kind: clade.KindOf(err), Err: err}
	if e.Kind != clade.Exists {
		return e
	}
	if other, _ := tx.Machine(m.Name); other != nil {
		e.Err, e.Hint = fmt.Errorf("the name is taken"), "choose another name, or remove it: clade rm "+string(m.Name)
		return e
	}
	others, _ := tx.machines("WHERE network = ? AND (hostname = ? OR ip = ?)", m.Network, string(m.Identity.Hostname), m.Identity.IP.AsSlice())
	for _, other := range others {
		what := "address " + m.Identity.IP.String()
		if other.Identity.Hostname == m.Identity.Hostname {
			what = "hostname " + string(m.Identity.Hostname)
		}
		e.Err = fmt.Errorf("%s is taken by machine %s on network %s", what, other.Name, m.Network)
		e.Hint = "choose another one, or leave it to clade"
	}
	return e
}

// RemoveMachine deletes the record of a machine.
func (tx *Tx) RemoveMachine(id string) error {
	_, err := tx.exec("DELETE FROM machines WHERE id = ?", id)
	return err
}

// SetHead makes head the file that the machine's disk writes to, resting on layer.
func (tx *Tx) SetHead(machine string, slot int, head, layer string) error {
	_, err := tx.exec("UPDATE disks SET head = ?, layer = ? WHERE machine = ? AND slot = ?", head, null(layer), machine, slot)
	return err
}

// SetDisk makes d what the record says of one disk of the machine, but for its
// serial, which it keeps; head is the file it writes to.
func (tx *Tx) SetDisk(machine string, d clade.Disk, head string) error {
	_, err := tx.exec("UPDATE disks SET head = ?, layer = ?, base = ?, virtual = ? WHERE machine = ? AND slot = ?",
		head, null(d.Layer), null(d.Base), int64(d.Virtual), machine, d.Slot)
	return err
}

// SetSource records what the machine is made from now.
func (tx *Tx) SetSource(machine string, kind clade.CloneKind, source string) error {
	_, err := tx.exec("UPDATE machines SET clone = ?, source = ? WHERE id = ?", string(kind), source, machine)
	return err
}

// SetMachineID records the machine-id that was read in the guest.
func (tx *Tx) SetMachineID(machine, id string) error {
	_, err := tx.exec("UPDATE machines SET machine_id = ? WHERE id = ?", id, machine)
	return err
}

// Renew makes the guest take the machine for a new one at its next start: it gets
// a new instance-id, and what was read of its old identity is forgotten.
func (tx *Tx) Renew(machine, instanceID string) error {
	_, err := tx.exec("UPDATE machines SET instance_id = ?, machine_id = '' WHERE id = ?", instanceID, machine)
	return err
}

// Addresses returns the addresses that are taken in a network.
func (tx *Tx) Addresses(network string) (map[netip.Addr]bool, error) {
	taken := make(map[netip.Addr]bool)
	err := tx.all(func(rows *sql.Rows) error {
		var ip []byte
		err := rows.Scan(&ip)
		if addr, ok := netip.AddrFromSlice(ip); ok {
			taken[addr] = true
		}
		return err
	}, "SELECT ip FROM machines WHERE network = ? AND ip IS NOT NULL", network)
	return taken, err
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}
