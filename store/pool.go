package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/clade-vm/clade"
)

// A Pool is the record of a pool: what is wanted, and what came of the last tries.
type Pool struct {
	clade.PoolSpec
	Earlier  string // the template before the last update
	Deadline time.Time
	Faults   int
	Retry    time.Time
	Reason   string
	Created  time.Time
}

// A Member is the record of one machine of a pool.
type Member struct {
	Machine string // its id
	Pool    clade.Name
	Due     string    // what must be done to it before anybody gets it
	Proven  string    // the run in which its agent answered
	Silent  time.Time // since when it does not answer
	Reason  string
}

// A Claim is the record of a claim. Ticks and Remains are what a clock that jumps
// does not change.
type Claim struct {
	Pool    clade.Name
	Person  string
	Machine string // its id
	Created time.Time
	Expires time.Time // zero: never
	Remains time.Duration
	Boot    string
	Ticks   time.Duration
}

// nano is a time as it is stored; the zero time is 0.
func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// Pools returns all pools by name.
func (tx *Tx) Pools() (list []*Pool, err error) {
	err = tx.all(func(rows *sql.Rows) error {
		var p Pool
		var spec []byte
		var deadline, retry, created int64
		if err := rows.Scan(&spec, &p.Earlier, &deadline, &p.Faults, &retry, &p.Reason, &created); err != nil {
			return err
		}
		p.Deadline, p.Retry, p.Created = fromNano(deadline), fromNano(retry), fromNano(created)
		list = append(list, &p)
		return json.Unmarshal(spec, &p.PoolSpec)
	}, "SELECT spec, earlier, deadline, faults, retry, reason, created FROM pools ORDER BY name")
	return list, err
}

// Pool returns one pool. Kind NotFound.
func (tx *Tx) Pool(name clade.Name) (*Pool, error) {
	list, err := tx.Pools()
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, &clade.Error{Op: "find", On: "pool " + string(name), Kind: clade.NotFound, Err: errors.New("no pool has this name"),
		Hint: "clade pool ls shows the pools there are"}
}

// AddPool records a new pool. Kind Exists.
func (tx *Tx) AddPool(p *Pool) error {
	spec, err := json.Marshal(p.PoolSpec)
	if err != nil {
		return err
	}
	_, err = tx.exec("INSERT INTO pools (name, spec, earlier, deadline, faults, retry, reason, created) VALUES (?,?,?,?,?,?,?,?)",
		string(p.Name), string(spec), p.Earlier, nano(p.Deadline), p.Faults, nano(p.Retry), p.Reason, nano(p.Created))
	if clade.KindOf(err) == clade.Exists {
		return &clade.Error{Op: "create", On: "pool " + string(p.Name), Kind: clade.Exists, Err: errors.New("the name is taken"),
			Hint: fmt.Sprintf("choose another name, or change it: clade pool scale %s", p.Name)}
	}
	return err
}

// SetPool records what p says of a pool that is there.
func (tx *Tx) SetPool(p *Pool) error {
	spec, err := json.Marshal(p.PoolSpec)
	if err != nil {
		return err
	}
	_, err = tx.exec("UPDATE pools SET spec = ?, earlier = ?, deadline = ?, faults = ?, retry = ?, reason = ? WHERE name = ?",
		string(spec), p.Earlier, nano(p.Deadline), p.Faults, nano(p.Retry), p.Reason, string(p.Name))
	return err
}

// SetFaults records how the last tries of a pool came out.
func (tx *Tx) SetFaults(pool clade.Name, faults int, retry time.Time, reason string) error {
	_, err := tx.exec("UPDATE pools SET faults = ?, retry = ?, reason = ? WHERE name = ?", faults, nano(retry), reason, string(pool))
	return err
}

// RemovePool deletes the record of a pool. Kind InUse while it has members.
func (tx *Tx) RemovePool(name clade.Name) error {
	_, err := tx.exec("DELETE FROM pools WHERE name = ?", string(name))
	return err
}

// Members returns the members of one pool, or of all where pool is empty.
func (tx *Tx) Members(pool clade.Name) (list []*Member, err error) {
	err = tx.all(func(rows *sql.Rows) error {
		var m Member
		var silent int64
		err := rows.Scan(&m.Machine, &m.Pool, &m.Due, &m.Proven, &silent, &m.Reason)
		m.Silent = fromNano(silent)
		list = append(list, &m)
		return err
	}, "SELECT machine, pool, due, proven, silent, reason FROM members WHERE pool = ?1 OR ?1 = '' ORDER BY machine", string(pool))
	return list, err
}

// AddMember records that a machine belongs to a pool.
func (tx *Tx) AddMember(machine string, pool clade.Name) error {
	_, err := tx.exec("INSERT INTO members (machine, pool, due, proven, silent, reason) VALUES (?,?,'','',0,'')", machine, string(pool))
	return err
}

// Due changes what is due of a member from one thing to another, and tells whether
// it did: not where something else is due by now, nor where it is free and a person
// has it.
func (tx *Tx) Due(machine, from, to string, free bool) (bool, error) {
	n, err := tx.exec(`UPDATE members SET due = ?, proven = CASE WHEN ? = '' THEN proven ELSE '' END WHERE machine = ? AND due = ?
		AND NOT (? AND EXISTS (SELECT 1 FROM claims WHERE claims.machine = members.machine))`, to, to, machine, from, free)
	return n == 1, err
}

// SetDue makes due what must be done to a member, whatever was due before.
func (tx *Tx) SetDue(machine, due, reason string) error {
	_, err := tx.exec("UPDATE members SET due = ?, reason = ?, proven = CASE WHEN ?1 = '' THEN proven ELSE '' END WHERE machine = ?", due, reason, machine)
	return err
}

// SetProven records the run in which a member's agent answered.
func (tx *Tx) SetProven(machine, run string) error {
	_, err := tx.exec("UPDATE members SET proven = ?, silent = 0, reason = '' WHERE machine = ?", run, machine)
	return err
}

// SetSilent records since when a member does not answer, and why.
func (tx *Tx) SetSilent(machine string, since time.Time, reason string) error {
	_, err := tx.exec("UPDATE members SET silent = ?, reason = ? WHERE machine = ?", nano(since), reason, machine)
	return err
}

// Claims returns the claims on one pool, or on all where pool is empty, by person.
func (tx *Tx) Claims(pool clade.Name) (list []*Claim, err error) {
	err = tx.all(func(rows *sql.Rows) error {
		var c Claim
		var created, expires int64
		err := rows.Scan(&c.Pool, &c.Person, &c.Machine, &created, &expires, &c.Remains, &c.Boot, &c.Ticks)
		c.Created, c.Expires = fromNano(created), fromNano(expires)
		list = append(list, &c)
		return err
	}, "SELECT pool, person, machine, created, expires, remains, boot, ticks FROM claims WHERE pool = ?1 OR ?1 = '' ORDER BY pool, person", string(pool))
	return list, err
}

// AddClaim records that a person holds a machine. Kind Exists where the person holds
// one of the pool, or another person this one.
func (tx *Tx) AddClaim(c *Claim) error {
	_, err := tx.exec("INSERT INTO claims (pool, person, machine, created, expires, remains, boot, ticks) VALUES (?,?,?,?,?,?,?,?)",
		string(c.Pool), c.Person, c.Machine, nano(c.Created), nano(c.Expires), int64(c.Remains), c.Boot, int64(c.Ticks))
	return err
}

// SetClaim records how long a claim lasts.
func (tx *Tx) SetClaim(c *Claim) error {
	_, err := tx.exec("UPDATE claims SET expires = ?, remains = ?, boot = ?, ticks = ? WHERE pool = ? AND person = ?",
		nano(c.Expires), int64(c.Remains), c.Boot, int64(c.Ticks), string(c.Pool), c.Person)
	return err
}

// RemoveClaim deletes a claim, and tells whether there was one.
func (tx *Tx) RemoveClaim(pool clade.Name, person string) (bool, error) {
	n, err := tx.exec("DELETE FROM claims WHERE pool = ? AND person = ?", string(pool), person)
	return n == 1, err
}
