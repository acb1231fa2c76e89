//go:build integration

package host_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
)

// A world is what a home should hold: the model that real homes are compared with.
// It knows nothing of layers, only what each disk reads.
type world struct {
	machines  map[clade.Name]*modelMachine
	templates map[string]modelTemplate // by name:version
	bundles   map[string]modelBundle   // by file
}

type modelMachine struct {
	moment
	data  content // of its data disk; nil where it has none
	below content // what the layer right below the head reads, where it rests on one
	rests bool
	vague bool // below is not known: what it rests on is another since it was compacted
	runs  bool
	kept  map[clade.Name]moment // its snapshots
}

// A moment is what a machine is and a snapshot keeps.
type moment struct {
	disk  content
	base  content // what a reset goes back to
	based bool
	kind  clade.CloneKind
	lives bool    // of a snapshot: it has the machine's memory, which goes on from there
	held  content // and what the data disk held then
}

type modelTemplate struct {
	disk        content
	generalized bool
}

type modelBundle struct {
	template *modelTemplate
	version  string
	disk     content
	below    content
	rests    bool
}

func newWorld() *world {
	return &world{map[clade.Name]*modelMachine{}, map[string]modelTemplate{}, map[string]modelBundle{}}
}

func (w *world) clone() *world {
	c := &world{map[clade.Name]*modelMachine{}, maps.Clone(w.templates), maps.Clone(w.bundles)}
	for name, m := range w.machines {
		copied := *m
		copied.kept = maps.Clone(m.kept)
		c.machines[name] = &copied
	}
	return c
}

// erased is the value that generalizing leaves in the first block.
const erased = 0xee

func generalized(c content) content { return c.with(0, 1, erased).of(len(c)) }

// changed is the value that a rebase which keeps changes leaves in the second block.
const changed = 0xcc

func carriedOver(c content) content { return c.with(1, 1, changed).of(len(c)) }

// freeze is what happens to a machine that others are to rest on.
func (m *modelMachine) freeze() { m.restOn(m.disk) }

func (m *modelMachine) restOn(below content) { m.below, m.rests, m.vague = below, true, false }

// apply does one act in the model and returns the kind of error that it must end
// with. After an error nothing else has changed, but that it may have been frozen.
func (w *world) apply(act string) clade.Kind {
	words := strings.Fields(act)
	if slices.Contains([]string{"linked", "data", "twins", "adopt", "full"}, words[0]) && w.taken(words[2:]) {
		return clade.Exists // names are looked at first
	}
	if do, ok := making[words[0]]; ok {
		return do(w, words)
	}
	m := w.machines[clade.Name(words[1])]
	if m == nil {
		return clade.NotFound
	}
	return changing[words[0]](w, m, words)
}

// making are the acts that add to or take from the home as a whole.
var making = map[string]func(w *world, words []string) clade.Kind{
	"build": func(w *world, words []string) clade.Kind {
		blocks, _ := strconv.Atoi(words[2])
		return w.add(words[1], &modelMachine{moment: moment{disk: make(content, blocks)}})
	},
	"linked": (*world).linked,
	"data": func(w *world, words []string) clade.Kind {
		kind := w.linked(words)
		if kind == "" {
			w.machines[clade.Name(words[2])].data = make(content, smallDisk*regionBlocks)
		}
		return kind
	},
	"twins": func(w *world, words []string) clade.Kind {
		if t, ok := w.templates[words[1]]; ok {
			return w.addLinked(words[2:], t.disk)
		}
		return w.fromMachine(words, func(m *modelMachine) clade.Kind {
			m.freeze()
			return w.addLinked(words[2:], m.disk)
		})
	},
	"adopt": func(w *world, words []string) clade.Kind {
		return w.fromMachine(words, func(m *modelMachine) clade.Kind {
			m.freeze()
			return w.addLinked(words[2:], generalized(m.disk))
		})
	},
	"full": func(w *world, words []string) clade.Kind {
		if t, ok := w.templates[words[1]]; ok {
			return w.add(words[2], &modelMachine{moment: moment{disk: t.disk, kind: clade.Full}})
		}
		return w.fromMachine(words, func(m *modelMachine) clade.Kind {
			if m.runs {
				m.freeze()
			}
			return w.add(words[2], &modelMachine{moment: moment{disk: m.disk, kind: clade.Full}})
		})
	},
	"template": func(w *world, words []string) clade.Kind {
		return w.addTemplate(words, true)
	},
	"untested": func(w *world, words []string) clade.Kind {
		return w.addTemplate(words, false)
	},
	"untemplate": func(w *world, words []string) clade.Kind {
		if _, ok := w.templates[words[1]]; !ok {
			return clade.NotFound
		}
		delete(w.templates, words[1])
		return ""
	},
	"export": func(w *world, words []string) clade.Kind {
		if t, ok := w.templates[words[1]]; ok {
			_, version, _ := strings.Cut(words[1], ":")
			return w.addBundle(words[2], modelBundle{template: &t, version: version})
		}
		m := w.machines[clade.Name(words[1])]
		switch {
		case m == nil:
			return clade.NotFound
		case m.runs:
			return clade.InUse
		}
		return w.addBundle(words[2], modelBundle{disk: m.disk, below: m.below, rests: m.rests})
	},
	"import": func(w *world, words []string) clade.Kind {
		b, ok := w.bundles[words[2]]
		switch {
		case !ok:
			return clade.NotFound
		case b.template == nil:
			m := &modelMachine{moment: moment{disk: b.disk}}
			if b.rests {
				m.below, m.base, m.rests, m.based, m.kind = b.below, b.below, true, true, clade.Linked
			}
			return w.add(words[1], m)
		}
		ref := words[1] + ":" + b.version
		if _, taken := w.templates[ref]; taken {
			return clade.Exists
		}
		w.templates[ref] = *b.template
		return ""
	},
	"delete":  func(w *world, words []string) clade.Kind { delete(w.bundles, words[1]); return "" },
	"collect": func(*world, []string) clade.Kind { return "" },
	"verify":  func(*world, []string) clade.Kind { return "" },
}

// changing are the acts on one machine.
var changing = map[string]func(w *world, m *modelMachine, words []string) clade.Kind{
	"write": func(_ *world, m *modelMachine, words []string) clade.Kind {
		block, count, value := numbers(words[2:])
		m.disk = m.disk.with(block, count, byte(value))
		return ""
	},
	"pour": func(_ *world, m *modelMachine, words []string) clade.Kind {
		block, count, value := numbers(words[2:])
		m.data = m.data.with(block, count, byte(value))
		return ""
	},
	"repair": func(*world, *modelMachine, []string) clade.Kind { return "" },
	"start":  func(_ *world, m *modelMachine, _ []string) clade.Kind { m.runs = true; return "" },
	"kill":   func(_ *world, m *modelMachine, _ []string) clade.Kind { m.runs = false; return "" },
	"rm": stopped(func(w *world, _ *modelMachine, words []string) clade.Kind {
		delete(w.machines, clade.Name(words[1]))
		return ""
	}),
	"snapshot": func(_ *world, m *modelMachine, words []string) clade.Kind {
		name := clade.Name(words[2])
		if _, taken := m.kept[name]; taken {
			return clade.Exists
		}
		m.freeze()
		m.keep(name, false)
		return ""
	},
	"memory": func(_ *world, m *modelMachine, words []string) clade.Kind {
		name := clade.Name(words[2])
		if _, taken := m.kept[name]; taken {
			return clade.Exists
		}
		if !m.runs {
			return clade.NotRunning
		}
		m.freeze()
		m.keep(name, true)
		return ""
	},
	"unsnapshot": func(_ *world, m *modelMachine, words []string) clade.Kind {
		return m.forget(clade.Name(words[2]))
	},
	"restore": stopped(func(_ *world, m *modelMachine, words []string) clade.Kind {
		return m.goBack(clade.Name(words[2]))
	}),
	"reset": stopped(func(_ *world, m *modelMachine, _ []string) clade.Kind {
		if !m.based {
			return clade.Unsupported
		}
		m.disk = m.base.of(len(m.disk))
		m.restOn(m.disk)
		return ""
	}),
	"carry": stopped(func(w *world, m *modelMachine, words []string) clade.Kind {
		kind := m.moveTo(w, words[2])
		if kind == "" {
			m.disk = carriedOver(m.disk)
		}
		return kind
	}),
	"rebase": stopped(func(w *world, m *modelMachine, words []string) clade.Kind { return m.moveTo(w, words[2]) }),
	"undo": stopped(func(_ *world, m *modelMachine, _ []string) clade.Kind {
		if kind := m.goBack("before-rebase"); kind != "" {
			return kind
		}
		return m.forget("before-rebase")
	}),
	"confirm": func(_ *world, m *modelMachine, _ []string) clade.Kind { return m.forget("before-rebase") },
	"promote": func(_ *world, m *modelMachine, _ []string) clade.Kind {
		if !m.rests {
			return clade.Unsupported
		}
		m.rests, m.based, m.vague, m.below, m.base = false, false, false, nil, nil
		if m.kind == clade.Linked {
			m.kind = clade.Full
		}
		return ""
	},
	"compact": func(_ *world, m *modelMachine, _ []string) clade.Kind {
		m.vague = true // what it rests on is another, what it reads is not
		return ""
	},
	"generalize": stopped(func(_ *world, m *modelMachine, _ []string) clade.Kind {
		m.freeze()
		m.disk = generalized(m.disk)
		return ""
	}),
}

func stopped(act func(*world, *modelMachine, []string) clade.Kind) func(*world, *modelMachine, []string) clade.Kind {
	return func(w *world, m *modelMachine, words []string) clade.Kind {
		if m.runs {
			return clade.InUse
		}
		return act(w, m, words)
	}
}

func numbers(words []string) (a, b, c int) {
	a, _ = strconv.Atoi(words[0])
	b, _ = strconv.Atoi(words[1])
	c, _ = strconv.Atoi(words[2])
	return a, b, c
}

func (w *world) add(name string, m *modelMachine) clade.Kind {
	if _, taken := w.machines[clade.Name(name)]; taken {
		return clade.Exists
	}
	m.kept = map[clade.Name]moment{}
	w.machines[clade.Name(name)] = m
	return ""
}

func (w *world) linked(words []string) clade.Kind {
	t, ok := w.templates[words[1]]
	switch {
	case !ok:
		return clade.NotFound
	case !t.generalized:
		return clade.Unproven
	}
	return w.addLinked(words[2:], t.disk)
}

// addLinked adds clones, whose names are free.
func (w *world) addLinked(names []string, disk content) clade.Kind {
	for _, name := range names {
		w.add(name, &modelMachine{below: disk, rests: true, moment: moment{disk: disk, base: disk, based: true, kind: clade.Linked}})
	}
	return ""
}

func (w *world) fromMachine(words []string, act func(*modelMachine) clade.Kind) clade.Kind {
	m := w.machines[clade.Name(words[1])]
	if m == nil {
		return clade.NotFound
	}
	return act(m)
}

func (w *world) taken(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return w.machines[clade.Name(name)] != nil })
}

func (w *world) addTemplate(words []string, proven bool) clade.Kind {
	if _, taken := w.templates[words[2]]; taken {
		return clade.Exists
	}
	m := w.machines[clade.Name(words[1])]
	if m == nil {
		return clade.NotFound
	}
	m.freeze()
	t := modelTemplate{m.disk, proven}
	if proven {
		t.disk = generalized(m.disk)
	}
	w.templates[words[2]] = t
	return ""
}

func (w *world) addBundle(file string, b modelBundle) clade.Kind {
	if _, taken := w.bundles[file]; taken {
		return clade.Exists
	}
	w.bundles[file] = b
	return ""
}

// moveTo is a rebase: the machine rests on the template then, and has written nothing.
func (m *modelMachine) moveTo(w *world, ref string) clade.Kind {
	t, ok := w.templates[ref]
	_, before := m.kept["before-rebase"]
	switch {
	case !m.based:
		return clade.Unsupported
	case before:
		return clade.Exists
	case !ok:
		return clade.NotFound
	case !t.generalized:
		return clade.Unproven
	}
	m.freeze()
	m.keep("before-rebase", false)
	m.disk = t.disk.of(max(len(t.disk), len(m.disk)))
	m.restOn(m.disk)
	m.base, m.kind = t.disk, clade.Linked
	return ""
}

func (m *modelMachine) keep(name clade.Name, lives bool) {
	m.kept = maps.Clone(m.kept)
	was := m.moment
	if was.lives = lives; lives {
		was.held = m.data
	}
	m.kept[name] = was
}

func (m *modelMachine) forget(name clade.Name) clade.Kind {
	if _, there := m.kept[name]; !there {
		return clade.NotFound
	}
	m.kept = maps.Clone(m.kept)
	delete(m.kept, name)
	return ""
}

func (m *modelMachine) goBack(name clade.Name) clade.Kind {
	was, there := m.kept[name]
	if !there {
		return clade.NotFound
	}
	m.moment, m.runs = was, was.lives
	if was.lives {
		m.data = was.held
	}
	m.lives, m.held = false, nil
	m.restOn(was.disk)
	return ""
}

func sorted[K ~string, V any](of map[K]V) []K { return slices.Sorted(maps.Keys(of)) }
