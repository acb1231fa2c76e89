package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
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
	return tx.machines("ORDER BY name")
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
	var list []*Machine
	byID := make(map[string]*Machine)
	s := newScanner()
	err := tx.all(func(rows *sql.Rows) error {
		m, err := s.machine(rows)
		if err == nil {
			list, byID[m.ID] = append(list, m), m
		}
		return err
	}, "SELECT "+machineColumns+" FROM machines "+where, args...)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	filter, arg := "", []any(nil)
	if len(list) == 1 {
		filter, arg = "WHERE machine = ?", []any{list[0].ID}
	}
	err = tx.all(func(rows *sql.Rows) error {
		var id, head string
		var d clade.Disk
		var layer, base sql.NullString
		if err := rows.Scan(&id, &d.Slot, &d.Serial, &head, &layer, &base, &d.Virtual, &d.Label, &d.Mount); err != nil {
			return err
		}
		d.Layer, d.Base = layer.String, base.String
		if m := byID[id]; m != nil {
			m.Disks, m.Heads = append(m.Disks, d), append(m.Heads, head)
		}
		return nil
	}, "SELECT machine, slot, serial, head, layer, base, virtual, label, mount FROM disks "+filter+" ORDER BY machine, slot", arg...)
	return list, err
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
func parsed[T any](known map[string]T, text []byte) (T, error) {
	v, is := known[string(text)]
	if is {
		return v, nil
	}
	err := json.Unmarshal(text, &v)
	if err == nil {
		known[string(text)] = v
	}
	return v, err
}

func (s *scanner) machine(rows *sql.Rows) (*Machine, error) {
	var m Machine
	var mac, warm sql.NullString
	var ip, hardware, keys sql.RawBytes
	var created int64
	if err := rows.Scan(&m.ID, &m.Name, &m.Clone, &m.Source, &m.Identity.UUID, &mac, &ip, &m.Identity.Hostname,
		&m.Identity.InstanceID, &m.Network, &hardware, &m.User, &m.UserData, &keys, &m.MachineID, &m.Isolated, &warm, &m.Asleep, &created); err != nil {
		return nil, err
	}
	m.Identity.MAC, m.Warm = mac.String, warm.String
	m.Identity.IP, _ = netip.AddrFromSlice(ip)
	m.Created = time.Unix(0, created).UTC()
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
