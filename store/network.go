package store

import (
	"database/sql"
	"time"

	"github.com/clade-vm/clade"
)

// Networks returns all user networks by name, with the machines on them.
func (tx *Tx) Networks() ([]*clade.Network, error) {
	var list []*clade.Network
	byName := make(map[string]*clade.Network)
	err := tx.all(func(rows *sql.Rows) error {
		var n clade.Network
		var created int64
		err := rows.Scan(&n.Name, &n.Subnet, &n.NAT, &n.Isolated, &created)
		n.Created = time.Unix(0, created).UTC()
		list, byName[string(n.Name)] = append(list, &n), &n
		return err
	}, "SELECT name, subnet, nat, isolated, created FROM networks ORDER BY name")
	if err != nil {
		return nil, err
	}
	err = tx.all(func(rows *sql.Rows) error {
		var network string
		var machine clade.Name
		err := rows.Scan(&network, &machine)
		if n := byName[network]; n != nil {
			n.Machines = append(n.Machines, machine)
		}
		return err
	}, "SELECT network, name FROM machines ORDER BY name")
	if err != nil {
		return nil, err // half of what a record says is not a record
	}
	return list, nil
}

// Network returns one user network without its machines. Kind NotFound.
func (tx *Tx) Network(name clade.Name) (*clade.Network, error) {
	n := clade.Network{Name: name}
	var created int64
	err := tx.sql.QueryRowContext(tx.ctx, "SELECT subnet, nat, isolated, created FROM networks WHERE name = ?", string(name)).
		Scan(&n.Subnet, &n.NAT, &n.Isolated, &created)
	if err == sql.ErrNoRows {
		return nil, &clade.Error{Op: "find", On: "network " + string(name), Kind: clade.NotFound,
			Hint: "clade network ls shows the networks there are"}
	}
	n.Created = time.Unix(0, created).UTC()
	return &n, explain("", "", err)
}

// AddNetwork records a user network. Kind Exists.
func (tx *Tx) AddNetwork(n *clade.Network) error {
	_, err := tx.exec("INSERT INTO networks (name, subnet, nat, isolated, created) VALUES (?,?,?,?,?)",
		string(n.Name), n.Subnet, n.NAT, n.Isolated, n.Created.UnixNano())
	return explain("create", "network "+string(n.Name), err)
}

// RemoveNetwork deletes the record of a user network. Kind InUse while machines
// are on it.
func (tx *Tx) RemoveNetwork(name clade.Name) error {
	var count int
	err := tx.sql.QueryRowContext(tx.ctx, "SELECT count(*) FROM machines WHERE network = ?", string(name)).Scan(&count)
	if err != nil {
		return explain("", "", err)
	}
	if count > 0 {
		return &clade.Error{Op: "remove", On: "network " + string(name), Kind: clade.InUse,
			Hint: "remove its machines first: clade network show " + string(name)}
	}
	_, err = tx.exec("DELETE FROM networks WHERE name = ?", string(name))
	return err
}
