package identity

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
)

const (
	snapdState = "var/lib/snapd/state.json"
	snapdKeys  = "var/lib/snapd/device/private-keys-v1/*"

	maxSnapdState = 32 << 20 // it keeps what it did for days
)

// snapdSecrets are the fields of a device that make it this one; brand and model
// stay. It is what snapd's own Unregister takes out.
var snapdSecrets = []string{"serial", "key-id", "session-macaroon"}

// snapdClassic reports whether a guest is one of which snapd itself can forget the
// device: of the brand generic or canonical, or of none yet.
func snapdClassic(fsys fs.FS) bool {
	body, err := textUpTo(fsys, snapdState, maxSnapdState)
	if err != nil {
		return true // the mark's own reading says what is wrong
	}
	var state struct {
		Data struct {
			Auth struct {
				Device struct {
					Brand string `json:"brand"`
				} `json:"device"`
			} `json:"auth"`
		} `json:"data"`
	}
	if json.Unmarshal([]byte(body), &state) != nil {
		return true
	}
	return slices.Contains([]string{"", "generic", "canonical"}, state.Data.Auth.Device.Brand)
}

// object is a JSON object of which only parts are known: the others stay as they
// are written.
type object = map[string]json.RawMessage

func findSnapdDevice(_ fs.FS, _, body string) []string {
	device, _, err := snapdDevice(body)
	if err != nil {
		return nil // snapd itself could not read it
	}
	var values []string
	for _, name := range snapdSecrets {
		var v string
		if json.Unmarshal(device[name], &v) == nil && v != "" {
			values = append(values, v)
		}
	}
	return values
}

func dropSnapdDevice(_ fs.FS, _, body string) (string, error) {
	device, put, err := snapdDevice(body)
	if err != nil {
		return "", err
	}
	for _, name := range snapdSecrets {
		delete(device, name)
	}
	return put(device)
}

// snapdDevice returns data.auth.device of snapd's state, and what puts another one
// into its place.
func snapdDevice(body string) (device object, put func(object) (string, error), err error) {
	at := []string{"data", "auth", "device"}
	levels := []object{nil}
	if err := json.Unmarshal([]byte(body), &levels[0]); err != nil {
		return nil, nil, err
	}
	for i, name := range at {
		var next object
		if raw, ok := levels[i][name]; !ok {
			return nil, nil, fmt.Errorf("no %s", name)
		} else if err := json.Unmarshal(raw, &next); err != nil {
			return nil, nil, err
		}
		levels = append(levels, next)
	}
	put = func(inner object) (string, error) {
		for i := len(at) - 1; i >= 0; i-- {
			raw, err := json.Marshal(inner)
			if err != nil {
				return "", err
			}
			levels[i][at[i]], inner = raw, levels[i]
		}
		whole, err := json.Marshal(inner)
		return string(whole), err
	}
	return levels[len(at)], put, nil
}
