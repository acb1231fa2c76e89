package guest

import (
	"strings"

	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/rootfs"
)

// relabel asks a guest with SELinux to label all its files at its next boot, if
// any of those that were added has no label: it could not be used else.
func relabel(tree *rootfs.Tree, report *generalize.Report) error {
	if len(report.Writes) == 0 || !labels(tree) {
		return nil
	}
	for _, name := range report.Writes {
		label, err := tree.Label(name)
		if err != nil {
			return err
		}
		if label == "" {
			return tree.WriteFile(".autorelabel", nil, 0o644)
		}
	}
	return nil
}

// labels reports whether a guest uses SELinux.
func labels(tree *rootfs.Tree) bool {
	text, err := rootfs.ReadFile(tree, "etc/selinux/config", 64<<10)
	if err != nil {
		return false
	}
	for l := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(l), "=")
		if value = strings.ToLower(strings.TrimSpace(value)); strings.TrimSpace(key) == "SELINUX" && (value == "enforcing" || value == "permissive") {
			return true
		}
	}
	return false
}
