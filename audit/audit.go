// Package audit compares the marks of many machines and says what they share.
//
// It is pure: the findings come from whoever read the machines, by their disks or
// through their agents, and nothing is read or changed here.
package audit

import (
	"maps"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/identity"
)

// Compare returns what machines, given by name with the findings of all their
// marks, share: the worst first (what they must not share, then what is by choice; among
// these conflicts, then secrets, then the rest; then what more machines share), and
// otherwise by mark and value. Findings without a value are not compared. It is
// never nil.
//
// A mark that is not in identity.All, such as an address that the hypervisor
// knows, counts as a conflict.
func Compare(machines map[string][]identity.Finding) []clade.Shared {
	type key struct{ mark, value string }
	holders := map[key][]string{}
	for _, name := range slices.Sorted(maps.Keys(machines)) {
		for _, f := range machines[name] {
			if f.Value == "" {
				continue
			}
			k := key{f.Mark, f.Value}
			if h := holders[k]; len(h) == 0 || h[len(h)-1] != name {
				holders[k] = append(h, name)
			}
		}
	}
	marks := byName()
	shared := []clade.Shared{}
	for k, names := range holders {
		if len(names) < 2 {
			continue
		}
		s := clade.Shared{Mark: k.mark, Kind: string(identity.Conflict), Value: k.value, Machines: names, Severe: true,
			Why: "it must differ between machines", Mend: "clade mend " + strings.Join(names[1:], " ")}
		if m, ok := marks[k.mark]; ok {
			s.Kind, s.Why, s.Severe = string(m.Kind), m.Why, m.Default && m.Kind != identity.Residue
		}
		shared = append(shared, s)
	}
	slices.SortFunc(shared, worstFirst)
	return shared
}

// Divide takes the findings of one machine apart: into those that it is compared by,
// and the names of the marks of which it has residue, in their order.
func Divide(found []identity.Finding) (compared []identity.Finding, residue []string) {
	marks := byName()
	for _, f := range found {
		switch {
		case marks[f.Mark].Kind != identity.Residue:
			compared = append(compared, f)
		case !slices.Contains(residue, f.Mark):
			residue = append(residue, f.Mark)
		}
	}
	return compared, residue
}

func byName() map[string]identity.Mark {
	marks := map[string]identity.Mark{}
	for _, m := range identity.All() {
		marks[m.Name] = m
	}
	return marks
}

func worstFirst(a, b clade.Shared) int {
	if a.Severe != b.Severe {
		if a.Severe {
			return -1
		}
		return 1
	}
	if d := rank(a.Kind) - rank(b.Kind); d != 0 {
		return d
	}
	if d := len(b.Machines) - len(a.Machines); d != 0 {
		return d
	}
	if d := strings.Compare(a.Mark, b.Mark); d != 0 {
		return d
	}
	return strings.Compare(a.Value, b.Value)
}

func rank(kind string) int {
	return slices.Index([]identity.Kind{identity.Conflict, identity.Secret, identity.Residue}, identity.Kind(kind))
}
