// Package audit compares the marks of many machines and says what they share.
//
// It is pure: the findings come from whoever read the machines, by their disks or
// through their agents, and nothing is read or changed here.
package audit

import (
	"maps"
	"slices"
	"strings"

	"github.com/clade-vm/clade/identity"
)

// A Shared is one value of one mark that several machines have.
type Shared struct {
	Mark     string        `json:"mark"`
	Kind     identity.Kind `json:"kind"`
	Value    string        `json:"value"`    // of a secret its fingerprint
	Machines []string      `json:"machines"` // two or more, by name
	Why      string        `json:"why"`
	Mend     string        `json:"mend"` // the command that gives all but the first an identity of their own
}

// Compare returns what machines, given by name with the findings of all their
// marks, share: the worst first (conflicts, then secrets, then the rest; among
// these what more machines share), and otherwise by mark and value. Findings
// without a value are not compared. It is never nil.
//
// A mark that is not in identity.All, such as an address that the hypervisor
// knows, counts as a conflict.
func Compare(machines map[string][]identity.Finding) []Shared {
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
	marks := map[string]identity.Mark{}
	for _, m := range identity.All() {
		marks[m.Name] = m
	}
	shared := []Shared{}
	for k, names := range holders {
		if len(names) < 2 {
			continue
		}
		s := Shared{Mark: k.mark, Kind: identity.Conflict, Value: k.value, Machines: names,
			Why: "it must differ between machines", Mend: "clade mend " + strings.Join(names[1:], " ")}
		if m, ok := marks[k.mark]; ok {
			s.Kind, s.Why = m.Kind, m.Why
		}
		shared = append(shared, s)
	}
	slices.SortFunc(shared, worstFirst)
	return shared
}

func worstFirst(a, b Shared) int {
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

func rank(k identity.Kind) int {
	return slices.Index([]identity.Kind{identity.Conflict, identity.Secret, identity.Residue}, k)
}
