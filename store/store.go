// Package store is the home's database: the records of machines, layers,
// templates and networks, and the constraints that keep identities unique and
// parents in place.
//
// It is SQLite in WAL mode and the meeting point of concurrent commands. What
// can be derived from files and processes is not stored. The constraints are
// the last line of defence: two machines with one address, or a layer deleted
// under a clone, are refused here even if all else failed.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/clade-vm/clade"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// schema holds the steps that make a database what this clade knows: file N.sql
// takes it from an earlier version to N. What has landed never changes; a change
// is a new file.
//
//go:embed schema/*.sql
var schema embed.FS

// steps returns the numbers of the steps after version at, in their order.
func steps(at int) (list []int, err error) {
	files, err := schema.ReadDir("schema")
	for _, f := range files {
		n, bad := strconv.Atoi(strings.TrimSuffix(f.Name(), ".sql"))
		if n > at {
			list = append(list, n)
		}
		err = errors.Join(err, bad)
	}
	slices.Sort(list)
	return list, err
}

// patience is how long a command waits for others that hold the database.
const patience = time.Minute

// A DB is an open database. It is safe for concurrent use; Close it.
type DB struct {
	sql *sql.DB
}

// Open opens the database at path and makes it if it is not there, readable by
// its owner only. Kinds: Denied, NoSpace, Corrupt; Unsupported for a database
// of a newer clade.
func Open(ctx context.Context, path string) (*DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would make it readable for all
	if err == nil {
		err = f.Close()
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil, &clade.Error{Op: "open", On: "database " + path, Kind: clade.Denied, Err: err,
			Hint: "check that the home is there and yours to write (CLADE_HOME)"}
	}
	if err != nil {
		return nil, explain("open", "database "+path, err)
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "journal_size_limit(1048576)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, explain("open", path, err)
	}
	db.SetMaxOpenConns(1)
	d := &DB{db}
	if err := d.ready(ctx); err != nil {
		return nil, errors.Join(explain("open", "database "+path, err), db.Close())
	}
	return d, nil
}

// ready brings a database that was just opened to what this clade works with. SQLite
// does not wait for a command that does the same, whatever its busy_timeout is: for one
// that switches a new database to WAL (sqlite.org/wal.html, "Sometimes Queries Return
// SQLITE_BUSY In WAL Mode").
func (d *DB) ready(ctx context.Context) error {
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		err := errors.Join(d.migrate(ctx), d.keepLog(ctx))
		if clade.KindOf(explain("", "", err)) != clade.Busy || ctx.Err() != nil || time.Since(begun) > patience {
			return err
		}
	}
}

// keepLog has SQLite keep the files beside the database when it is closed. To make
// and remove them is what a command that only reads would spend its time on; and
// what the home takes would be another number while it is measured than after.
func (d *DB) keepLog(ctx context.Context) error {
	conn, err := d.sql.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // back to the pool of one
	return conn.Raw(func(driver any) error {
		control, ok := driver.(sqlite.FileControl)
		if !ok {
			return errors.New("the driver of SQLite cannot keep the log")
		}
		_, err := control.FileControlPersistWAL("main", 1)
		return err
	})
}

// Close releases the database. It may be called twice.
func (d *DB) Close() error { return d.sql.Close() }

// migrate brings the database to the newest version, kept in SQLite's user_version:
// all steps or none.
func (d *DB) migrate(ctx context.Context) error {
	all, err := steps(0)
	if err != nil {
		return err
	}
	newest := all[len(all)-1]
	at, err := d.at(ctx)
	if err != nil || at == newest {
		return err
	}
	if at > newest {
		return &clade.Error{Kind: clade.Unsupported, Err: fmt.Errorf("it was made by a newer clade (schema %d, this one knows %d)", at, newest),
			Hint: "use the newer clade, or another home (--home)"}
	}
	return d.Write(ctx, func(tx *Tx) error {
		var at int // another command may have been first
		if err := tx.sql.QueryRowContext(ctx, "PRAGMA user_version").Scan(&at); err != nil {
			return err
		}
		missing, err := steps(at)
		if err != nil {
			return err
		}
		for _, n := range missing {
			text, err := schema.ReadFile(fmt.Sprintf("schema/%d.sql", n))
			if err != nil {
				return err
			}
			if _, err := tx.sql.ExecContext(ctx, fmt.Sprintf("%s\nPRAGMA user_version = %d;", text, n)); err != nil {
				return fmt.Errorf("schema step %d: %w", n, err)
			}
		}
		return nil
	})
}

func (d *DB) at(ctx context.Context) (at int, err error) {
	err = d.sql.QueryRowContext(ctx, "PRAGMA user_version").Scan(&at)
	return at, err
}

// A Tx is one transaction; valid inside the function it was given to only.
type Tx struct {
	ctx context.Context
	sql *sql.Tx
}

// Read runs do on one unchanging view of the database.
func (d *DB) Read(ctx context.Context, do func(*Tx) error) error {
	return d.run(ctx, &sql.TxOptions{ReadOnly: true}, do)
}

// Write runs do in a transaction that no other writer overlaps: all of it
// happens, and is on the disk when Write returns, or nothing does.
func (d *DB) Write(ctx context.Context, do func(*Tx) error) error {
	return d.run(ctx, nil, do)
}

func (d *DB) run(ctx context.Context, o *sql.TxOptions, do func(*Tx) error) error {
	tx, err := d.sql.BeginTx(ctx, o)
	if err != nil {
		return explain("", "", err)
	}
	if err := do(&Tx{ctx, tx}); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	err = explain("", "", tx.Commit())
	if err != nil && o == nil {
		err = &clade.Error{Kind: clade.KindOf(err), Err: fmt.Errorf("%w: %w", ErrDoubtful, err)}
	}
	return err
}

// ErrDoubtful is in the error of a Write whose commit failed, as a disk does: the
// records are not there, but can be found there when the database is next opened.
var ErrDoubtful = errors.New("the commit failed")

func (tx *Tx) exec(query string, args ...any) (int64, error) {
	r, err := tx.sql.ExecContext(tx.ctx, query, args...)
	if err != nil {
		return 0, explain("", "", err)
	}
	return r.RowsAffected()
}

// all runs a query and calls scan for each row.
func (tx *Tx) all(scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := tx.sql.QueryContext(tx.ctx, query, args...)
	if err != nil {
		return explain("", "", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return explain("", "", err)
		}
	}
	return explain("", "", rows.Err())
}

// explain gives an error of SQLite the kind it has for clade.
func explain(op, on string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*clade.Error](err); ok {
		if op == "" {
			return err
		}
		return &clade.Error{Op: op, On: on, Kind: clade.KindOf(err), Err: err}
	}
	e := &clade.Error{Op: op, On: on, Kind: clade.KindOf(err), Err: err}
	s, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return e
	}
	if wording(e, s); op == "" && e.Kind != clade.Exists && e.Kind != clade.InUse {
		e.Err = fmt.Errorf("the records of the home (clade.db): %w", e.Err) // whoever asked names what for
	}
	return e
}

// wording gives e the kind, the hint and, where SQLite's is a riddle, the text of s.
func wording(e *clade.Error, s *sqlite.Error) {
	switch s.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		e.Kind, e.Err, e.Hint = clade.Busy, errors.New("another command holds the database"), "try again"
	case sqlite3.SQLITE_FULL:
		e.Kind, e.Err, e.Hint = clade.NoSpace, errors.New("the file system is full"), "free some space: clade du shows who takes it"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		e.Kind, e.Hint = clade.Denied, "check that the home is there and yours to write (CLADE_HOME)"
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB: // SQLite takes an EIO for damage
		e.Kind, e.Hint = clade.Corrupt, "the disk failed under the database, or damaged it: look at the kernel's log, and for a full file system"
	case sqlite3.SQLITE_CONSTRAINT:
		constraint(e, s)
	}
}

// constraint words the violation of a constraint: what is taken, or in use.
func constraint(e *clade.Error, s *sqlite.Error) {
	// ON DELETE RESTRICT is reported as a trigger's.
	if s.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY || s.Code() == sqlite3.SQLITE_CONSTRAINT_TRIGGER {
		e.Kind, e.Err = clade.InUse, errors.New("something rests on it, or what it rests on is gone")
		return
	}
	e.Kind = clade.Exists
	_, columns, found := strings.Cut(s.Error(), "UNIQUE constraint failed: ")
	if !found {
		e.Kind = clade.Internal
		return
	}
	columns, _, _ = strings.Cut(columns, " (")
	e.Err = fmt.Errorf("%s is taken", strings.ReplaceAll(columns, ".", " "))
}
