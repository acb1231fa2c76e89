package identity

import (
	"errors"
	"io/fs"
	"path"
	"regexp"

	"github.com/clade-vm/clade/rootfs"
)

// logMarks: the stamps of systemd's timers are not among them, they only keep a
// clone from doing all its daily work at once.
func logMarks() []Mark {
	return []Mark{
		{
			Name: "journal", Kind: Residue, Default: true, Where: "any",
			Why:         "the master's journal, under its machine-id, in every clone",
			Source:      "man 8 systemd-journald.service (FILES)",
			Paths:       []string{"var/log/journal/*", "run/log/journal/*"},
			Regenerates: "systemd-journald; the directory stays, so that the journal stays persistent",
			way:         remove{},
		},
		{
			Name: "login-records", Kind: Residue, Default: true, Where: "any",
			Why:         "who logged in to the master, and from where, is told as the clone's past",
			Source:      "man 5 wtmp; man 8 lastlog",
			Paths:       loginRecords(),
			Regenerates: "login, sshd, systemd",
			way:         empty{},
		},
		{
			// Emptied: process accounting writes to the file only if it is there.
			Name: "process-accounting", Kind: Residue, Default: true, Where: "any",
			Why:         "every program that ran on the master, and who ran it",
			Source:      "man 2 acct; man 1 lastcomm (FILES); man 1 virt-sysprep (pacct-log)",
			Paths:       []string{"var/account/pacct*", "var/account/savacct", "var/account/usracct", "var/log/account/pacct*", "var/log/account/savacct", "var/log/account/usracct"},
			Regenerates: "the kernel, where accounting is on",
			way:         empty{},
		},
		{
			Name: "logrotate-state", Kind: Residue, Default: true, Where: "any",
			Why:         "when the master's logs, which are gone, were rotated",
			Source:      "man 8 logrotate",
			Paths:       []string{"var/lib/logrotate/status", "var/lib/logrotate/logrotate.status", "var/lib/logrotate.status", "var/lib/misc/logrotate.status"},
			Regenerates: "logrotate",
			way:         remove{},
		},
		{
			Name: "logs", Kind: Residue, Default: true, Where: "any",
			Why:         "the master's logs, with addresses, names and errors that are not the clone's",
			Source:      "man 7 file-hierarchy; man 1 virt-sysprep (logfiles)",
			Paths:       []string{"var/log"},
			Regenerates: "syslog and the programs",
			way:         logs{},
		},
	}
}

// loginRecords are the binary records of logins.
func loginRecords() []string {
	return []string{
		"var/log/wtmp*", "var/log/btmp*", "var/log/lastlog", "var/log/faillog", "var/log/tallylog",
		"var/lib/wtmpdb/wtmp.db", "var/lib/lastlog/lastlog2.db", "run/utmp", "var/run/utmp",
	}
}

func isLoginRecord(name string) bool {
	for _, pattern := range loginRecords() {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

// logs is the way of the text logs: the files below var/log are emptied, with
// their owner and mode for the daemons that cannot make them, and those that are
// rotated go. The journal is a mark of its own.
type logs struct{}

func (logs) will() string { return "empty, remove rotated ones" }

func (logs) depends() bool { return false }

// Counting ends earlier than erasing, which must see the end.
const (
	maxLogsCounted = 100_000
	maxLogsErased  = 1 << 24
)

var rotated = regexp.MustCompile(`\.(gz|xz|bz2|zst|old|[0-9]+)$|-[0-9]{8}$`)

func (logs) read(s *search) error {
	f := Finding{Path: "var/log"}
	err := eachLog(s.fsys, maxLogsCounted, func(_ string, size int64) error {
		f.Count++
		f.Size += size
		if s.first {
			return fs.SkipAll
		}
		return nil
	})
	switch {
	case errors.Is(err, rootfs.ErrLimit):
		f.Note = "and more"
		err = nil
	case err == fs.SkipAll:
		err = nil
	}
	if err == nil && (f.Count > 0 || f.Note != "") {
		s.add(f)
	}
	return err
}

func (logs) erase(g *erasing, _ Mark) error {
	return eachLog(g.tree, maxLogsErased, func(name string, _ int64) error {
		if rotated.MatchString(path.Base(name)) {
			return g.tree.Remove(name)
		}
		return g.tree.Truncate(name)
	})
}

// eachLog calls fn with the size of every regular file below var/log that is not
// empty, and is no journal and no login record: those are marks of their own.
func eachLog(fsys fs.FS, limit int, fn func(name string, size int64) error) error {
	err := rootfs.Walk(fsys, "var/log", limit, func(name string, e fs.DirEntry) error {
		if e.IsDir() && name == "var/log/journal" {
			return fs.SkipDir
		}
		if !e.Type().IsRegular() || isLoginRecord(name) {
			return nil
		}
		fi, err := e.Info()
		if rootfs.Absent(err) || (err == nil && fi.Size() == 0) {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(name, fi.Size())
	})
	if rootfs.Absent(err) {
		return nil
	}
	return err
}
