package live

import (
	"path"
	"strings"

	"github.com/clade-vm/clade/identity"
)

// likely returns the names that reading marks begins with, so that most of it is
// fetched at once: the directories on the way to their paths, and the files that
// these name.
func likely(marks []identity.Mark) []string {
	names := []string{".", "etc", "etc/passwd", "home", "root", "usr", "usr/lib"}
	for _, m := range marks {
		for _, pattern := range m.Paths {
			if !strings.HasPrefix(pattern, "~/") {
				names = append(names, onTheWay(pattern)...)
			}
		}
		for _, name := range append(m.Firstboot.Needs, strings.TrimPrefix(m.Firstboot.Missing, "/")) {
			if name != "" {
				names = append(names, onTheWay(path.Dir(name))...)
			}
		}
	}
	return names
}

// onTheWay returns the names that pattern begins with, up to the first that is a
// pattern itself.
func onTheWay(pattern string) []string {
	var names []string
	at := ""
	for elem := range strings.SplitSeq(pattern, "/") {
		if strings.ContainsAny(elem, `*?[\`) {
			break
		}
		at = path.Join(at, elem)
		names = append(names, at)
	}
	return names
}
