package guest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ModuleIndex is the file that tells, on one line for each module, its name and
// the names of those it needs, which have their lines above it.
const ModuleIndex = "/modules/index"

// ModulePath is where a module lies in the VM.
func ModulePath(name string) string { return "/modules/" + name + ".ko" }

// modules are those that can be loaded; what is not among them is built into
// the kernel, or the kernel does not have it. Safe for concurrent use.
type modules struct {
	needs map[string][]string
	once  map[string]func() error // loads one, the first time it is called
}

func readModules(index string) (*modules, error) {
	text, err := os.ReadFile(index)
	if err != nil {
		return nil, err
	}
	m := &modules{needs: map[string][]string{}, once: map[string]func() error{}}
	for line := range strings.Lines(string(text)) {
		names := strings.Fields(line)
		if len(names) == 0 {
			continue
		}
		// What has no line above is built in, or would be a circle.
		m.needs[names[0]] = slices.DeleteFunc(names[1:], func(other string) bool { return m.needs[other] == nil })
		m.once[names[0]] = sync.OnceValue(func() error { return insert(names[0]) })
	}
	return m, nil
}

// load inserts a module after all it needs. Loading it again does nothing.
func (m *modules) load(name string) error {
	for _, name := range m.order(name, nil) {
		if err := m.once[name](); err != nil {
			return err
		}
	}
	return nil
}

// order adds a module to a list that lacks it, after all it needs.
func (m *modules) order(name string, list []string) []string {
	needs, ok := m.needs[name]
	if !ok || slices.Contains(list, name) {
		return list
	}
	for _, other := range needs {
		list = m.order(other, list)
	}
	return append(list, name)
}

// insert gives a module to the kernel.
func insert(name string) error {
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
