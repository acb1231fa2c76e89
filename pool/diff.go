package pool

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/clade-vm/clade"
)

// A Difference is one field in which two declarations differ, as its values are
// written in JSON; "" for one that is not set.
type Difference struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// Diff returns the fields in which two specs differ, by name.
func Diff(old, new clade.PoolSpec) []Difference {
	a, b := fields(old), fields(new)
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var all []Difference
	for _, name := range names {
		if string(a[name]) != string(b[name]) {
			all = append(all, Difference{Field: name, Old: string(a[name]), New: string(b[name])})
		}
	}
	return all
}

func fields(s clade.PoolSpec) map[string]json.RawMessage {
	all := make(map[string]json.RawMessage)
	data, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		panic("pool: a spec is no JSON: " + err.Error())
	}
	return all
}

// made are the fields that machines are made with.
var made = []string{"kind", "names", "network", "isolated", "data_disk", "cpus", "memory", "user_data", "ssh_keys"}

// CheckChange refuses to change what machines are made with, but for the template,
// which can be rolled out. Kind Invalid.
func CheckChange(old, new clade.PoolSpec) error {
	for _, d := range Diff(old, new) {
		if slices.Contains(made, d.Field) {
			return &clade.Error{Op: "change", On: "pool " + string(new.Name), Kind: clade.Invalid,
				Err: fmt.Errorf("%s cannot be changed: its machines have it already", d.Field), Hint: "make another pool, and remove this one when nobody needs it"}
		}
	}
	return nil
}
