package identity

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/clade-vm/clade/rootfs"
)

// A Piece is one thing that the unit clade-firstboot.service makes when a machine
// starts without it.
type Piece struct {
	Needs   []string // the files that the guest must have, all of them, for the piece to be wanted
	Missing string   // a guest path, which may have *: made only if nothing matches
	Command string   // what makes it; no quotes, no % and no $
	Before  []string // the services that need it; a socket here is a cycle, through basic.target
}

// FirstbootUnit is the unit that Firstboot's text is written to.
const FirstbootUnit = "etc/systemd/system/clade-firstboot.service"

// firstbootWant is the link that enables it.
const firstbootWant = "etc/systemd/system/multi-user.target.wants/clade-firstboot.service"

// Firstboot returns the text of the unit that makes anew what marks take away and
// the guest does not restore by itself: "" for a guest without systemd, or with
// nothing that needs it.
//
// The unit is a plain oneshot that asks, for each piece, whether it is missing. It
// stays in the image: where cloud-init, which runs before it, makes the keys or all is
// there, its conditions fail and it costs nothing. Debian has nothing like it:
// openssh-server makes host keys when the package is configured, and then never.
func Firstboot(fsys fs.FS, marks []Mark) string {
	if !hasSystemd(fsys) {
		return ""
	}
	var before, conditions, commands []string
	for _, m := range marks {
		p := m.Firstboot
		if p.Command == "" || !p.wanted(fsys) {
			continue
		}
		before = append(before, p.Before...)
		conditions = append(conditions, "ConditionPathExistsGlob=|!"+p.Missing)
		commands = append(commands, fmt.Sprintf("ExecStart=/bin/sh -c 'ls %s >/dev/null 2>&1 || %s'", p.Missing, p.Command))
	}
	if len(commands) == 0 {
		return ""
	}
	return fmt.Sprintf(firstbootText, strings.Join(before, " "), strings.Join(conditions, "\n"), strings.Join(commands, "\n"))
}

// firstbootText ends with a sync: a machine that is switched off right after would
// keep empty key files, which count as there.
const firstbootText = `# Written by clade when this machine's template was generalized.
# It makes what was taken out of the template and is made by nothing else.
[Unit]
Description=Make the keys that this machine lacks
After=cloud-init.service cloud-init-network.service systemd-random-seed.service
Before=%s
%s

[Service]
Type=oneshot
RemainAfterExit=yes
%s
ExecStart=/bin/sync

[Install]
WantedBy=multi-user.target
`

func (p Piece) wanted(fsys fs.FS) bool {
	for _, name := range p.Needs {
		if !exists(fsys, name) {
			return false
		}
	}
	return true
}

// InstallFirstboot writes the unit with that text and enables it.
func InstallFirstboot(t *rootfs.Tree, text string) error {
	if err := t.MkdirAll("etc/systemd/system/multi-user.target.wants", 0o755); err != nil {
		return err
	}
	if err := put(t, FirstbootUnit, text, 0o644); err != nil {
		return err
	}
	if linksTo(t, firstbootWant, FirstbootUnit) {
		return nil
	}
	if err := t.RemoveAll(firstbootWant); err != nil {
		return err
	}
	return t.Symlink("/"+FirstbootUnit, firstbootWant)
}

// FirstbootInstalled reports whether the unit with that text is there and enabled.
func FirstbootInstalled(fsys fs.FS, want string) bool {
	is, err := text(fsys, FirstbootUnit)
	return err == nil && is == want && linksTo(fsys, firstbootWant, FirstbootUnit)
}
