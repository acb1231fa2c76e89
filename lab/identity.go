package lab

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/clade-vm/clade"
)

// marks are what no two machines may share, as their guests report it.
var marks = []struct {
	name   string
	values func(*clade.Reading) []string
}{
	{"hostname", func(r *clade.Reading) []string { return one(r.Hostname) }},
	{"IP address", func(r *clade.Reading) []string { return r.IPs }},
	{"MAC address", func(r *clade.Reading) []string { return r.MACs }},
	{"SMBIOS UUID", func(r *clade.Reading) []string { return one(r.UUID) }},
	{"machine-id", func(r *clade.Reading) []string { return one(r.MachineID) }},
	{"SSH host keys", func(r *clade.Reading) []string { return r.HostKeys }},
	{"cloud-init instance-id", func(r *clade.Reading) []string { return one(r.InstanceID) }},
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// checkIdentities compares all machines with one another, and each with what
// clade gave it; and the parent with itself, before its template was made.
func (r *run) checkIdentities() {
	for _, mark := range marks {
		c := Check{Part: 3, Group: Distinct, Name: unshared(mark.name), Values: map[string]string{}}
		var why []string
		holders := map[string][]clade.Name{}
		var order []string
		for _, m := range r.report.Machines {
			values := mark.values(m.Reading)
			c.Values[string(m.Name)] = strings.Join(values, " ")
			if len(values) == 0 {
				why = append(why, string(m.Name)+" has none")
			}
			for _, v := range slices.Compact(slices.Sorted(slices.Values(values))) {
				if holders[v] == nil {
					order = append(order, v)
				}
				holders[v] = append(holders[v], m.Name)
			}
		}
		for _, v := range order {
			if len(holders[v]) > 1 {
				r.report.Shared = append(r.report.Shared, Shared{Mark: mark.name, Value: v, Machines: holders[v]})
				why = append(why, fmt.Sprintf("%s share %s", list(holders[v]), v))
			}
		}
		r.check(verdict(c, len(why) == 0, strings.Join(why, "; ")))
	}
	for _, m := range r.report.Machines {
		r.check(asGiven(m))
	}
	c := Check{Part: 3, Group: Sources, Name: "the parent is who it was before its template was made"}
	now := r.machines[Parent].Reading
	r.check(verdict(c, reflect.DeepEqual(r.before, now), fmt.Sprintf("it was %+v, and is %+v", *r.before, *now)))
}

// unshared is the name of the check that a mark is shared by no two machines.
func unshared(mark string) string { return "every machine has its own " + mark }

// list writes names as people do: "parent, full and linked".
func list(names []clade.Name) string {
	var words []string
	for _, n := range names {
		words = append(words, string(n))
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// asGiven checks that a guest sees the identity that clade gave its machine.
func asGiven(m *Machine) Check {
	c := Check{Part: 3, Group: Distinct, Name: string(m.Name) + " sees the identity it was given", Values: map[string]string{}}
	var why []string
	for _, v := range []struct {
		mark, given string
		seen        []string
	}{
		{"hostname", string(m.Identity.Hostname), one(m.Reading.Hostname)},
		{"IP address", m.Identity.IP.String(), m.Reading.IPs},
		{"MAC address", m.Identity.MAC, m.Reading.MACs},
		{"SMBIOS UUID", m.Identity.UUID, one(m.Reading.UUID)},
		{"cloud-init instance-id", m.Identity.InstanceID, one(m.Reading.InstanceID)},
	} {
		c.Values[v.mark] = v.given
		if !slices.ContainsFunc(v.seen, func(s string) bool { return strings.EqualFold(s, v.given) }) {
			why = append(why, fmt.Sprintf("%s: given %s, seen %s", v.mark, v.given, strings.Join(v.seen, " ")))
		}
	}
	return verdict(c, len(why) == 0, strings.Join(why, "; "))
}
