package guest

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ModuleIndex is the file that tells, on one line for each module, its name and
// the names of those it needs.
const ModuleIndex = "/modules/index"

// ModulePath is where a module lies in the VM.
func ModulePath(name string) string { return "/modules/" + name + ".ko" }

// modules are those that can be loaded; what is not among them is built into
// the kernel, or the kernel does not have it.
type modules struct {
	needs  map[string][]string
	loaded map[string]bool
}

func readModules(index string) (*modules, error) {
	text, err := os.ReadFile(index)
	if err != nil {
		return nil, err
	}
	m := &modules{needs: map[string][]string{}, loaded: map[string]bool{}}
	for line := range strings.Lines(string(text)) {
		if names := strings.Fields(line); len(names) > 0 {
			m.needs[names[0]] = names[1:]
		}
	}
	return m, nil
}

// load inserts a module after all it needs. Loading it again does nothing.
func (m *modules) load(name string) error {
	needs, ok := m.needs[name]
	if !ok || m.loaded[name] {
		return nil
	}
	m.loaded[name] = true // before what it needs: a circle must end
	for _, other := range needs {
		if err := m.load(other); err != nil {
			return err
		}
	}
	f, err := os.Open(ModulePath(name))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return fmt.Errorf("load module %s: %w", name, err)
	}
	return nil
}
