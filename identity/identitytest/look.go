package identitytest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Look returns what lies at name below dir: the text of a file, "->target", None,
// or the type of anything else as fs.FileMode prints it ("d---------"). It reads
// the host's file system as it is and follows no link in the last place.
func Look(dir, name string) (string, error) {
	at := filepath.Join(dir, name)
	fi, err := os.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return None, nil
	case err != nil:
		return "", err
	case fi.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(at)
		return "->" + target, err
	case !fi.Mode().IsRegular():
		return fi.Mode().Type().String(), nil
	}
	data, err := os.ReadFile(at)
	return string(data), err
}

// Check returns an error that names all that is not as p.After says.
func Check(dir string, p Plant) error {
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(p.After)) {
		got, err := Look(dir, name)
		if err != nil {
			wrong = append(wrong, err)
		} else if want := p.After[name]; got != want {
			wrong = append(wrong, fmt.Errorf("%s is %.300q, want %.300q", name, got, want))
		}
	}
	return errors.Join(wrong...)
}

// Left returns the names of the files below dir that still hold something planted:
// by a plain walk and read, which knows nothing of marks.
func Left(dir string) ([]string, error) {
	var left []string
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(at)
		if holds(string(data)) {
			name, _ := filepath.Rel(dir, at)
			left = append(left, name)
		}
		return err
	})
	return left, err
}

// holds reports whether a text has something planted in it, in any spelling.
func holds(text string) bool {
	mac := strings.ReplaceAll(strings.ToLower(text), "-", ":")
	return strings.Contains(text, Planted) || strings.Contains(text, MachineID) || strings.Contains(mac, MAC)
}
