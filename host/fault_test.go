//go:build integration

package host_test

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/clade-vm/clade"
)

var faultsOfAKind = flag.Int("faults", 1, "how many calls of one kind on one kind of file are made to fail in each act; 0 for all")

// An ordeal is an act that is done again and again while files fail, what comes
// before it each time, and what makes the home again what it was.
type ordeal struct {
	act           string
	before, after []string
}

// tried are the ordeals, or those with the given word in them.
var ordealsWith = flag.String("ordeal", "", "only the acts with this in them")

var ordeals = []ordeal{
	{"build x 96", nil, []string{"rm x"}},
	{"template c1 t:9", []string{"write c1 0 20 5"}, []string{"untemplate t:9", "reset c1"}},
	{"linked t:1 x y", nil, []string{"rm x", "rm y"}},
	{"full c1 x", []string{"write c1 0 20 5"}, []string{"rm x", "reset c1"}},
	{"full r1 x", []string{"write r1 0 20 5"}, []string{"rm x", "kill r1", "reset r1", "start r1"}},
	{"adopt c1 x", []string{"write c1 0 20 5"}, []string{"rm x", "reset c1"}},
	{"start c1", nil, []string{"kill c1"}},
	{"kill c1", []string{"start c1"}, []string{"kill c1"}},
	{"snapshot c1 s", []string{"write c1 0 20 5"}, []string{"unsnapshot c1 s", "reset c1"}},
	{"snapshot r1 s", []string{"write r1 0 20 5"}, []string{"unsnapshot r1 s", "kill r1", "reset r1", "start r1"}},
	{"memory r1 s", []string{"write r1 0 20 5"}, []string{"unsnapshot r1 s", "kill r1", "reset r1", "start r1"}},
	{"restore c1 m", []string{"start c1", "write c1 0 20 5", "memory c1 m", "kill c1", "write c1 3 9 6"}, []string{"kill c1", "unsnapshot c1 m", "reset c1"}},
	{"restore c1 s", []string{"write c1 0 20 5", "snapshot c1 s", "write c1 3 9 6"}, []string{"unsnapshot c1 s", "reset c1"}},
	{"unsnapshot c1 s", []string{"write c1 0 20 5", "snapshot c1 s", "reset c1"}, []string{"unsnapshot c1 s"}},
	{"data t:1 x", nil, []string{"rm x"}},
	{"memory d1 s", []string{"pour d1 0 20 5"}, []string{"kill d1", "rm d1", "data t:1 d1", "start d1"}},
	{"restore d1 m", []string{"pour d1 0 20 5", "memory d1 m", "pour d1 3 9 6", "kill d1"}, []string{"kill d1", "rm d1", "data t:1 d1", "start d1"}},
	{"reset c1", []string{"write c1 0 20 5"}, []string{"reset c1"}},
	{"rebase c1 t:2", []string{"write c1 0 20 5"}, []string{"undo c1", "reset c1"}},
	{"carry c1 t:2", []string{"write c1 0 20 5"}, []string{"undo c1", "reset c1"}},
	{"undo c1", []string{"write c1 0 20 5", "rebase c1 t:2"}, []string{"undo c1", "reset c1"}},
	{"confirm c1", []string{"rebase c1 t:2"}, []string{"confirm c1", "rebase c1 t:1", "confirm c1"}},
	{"promote c1", []string{"write c1 0 20 5"}, []string{"rm c1", "linked t:1 c1"}},
	{"promote r1", []string{"write r1 0 20 5"}, []string{"kill r1", "rm r1", "linked t:1 r1", "start r1"}},
	{"compact c1", []string{"write c1 0 20 5", "snapshot c1 s", "write c1 3 9 6", "unsnapshot c1 s"}, []string{"reset c1"}},
	{"generalize c1", []string{"write c1 0 20 5"}, []string{"reset c1"}},
	{"export c1 b9.clade", []string{"write c1 0 20 5"}, []string{"delete b9.clade", "reset c1"}},
	{"import x b1.clade", nil, []string{"rm x"}},
	{"import v b2.clade", nil, []string{"untemplate v:1"}},
	{"rm x", []string{"linked t:1 x", "write x 0 20 5", "snapshot x s"}, []string{"rm x"}},
	{"untemplate t:9", []string{"write c1 0 20 5", "template c1 t:9", "reset c1"}, []string{"untemplate t:9"}},
	{"collect home", nil, nil},
	{"verify home", nil, nil},
}

// long are the acts that take long with what is before and after them: unless all faults
// are tried, one in three is.
var long = []string{"memory r1 s", "restore c1 m", "memory d1 s", "restore d1 m", "carry c1 t:2"}

// suffering makes the home in which the ordeals are.
var suffering = []string{"build m1 96", "write m1 3 20 7", "template m1 t:1", "write m1 0 30 8", "template m1 t:2", "linked t:1 c1 r1",
	"start r1", "data t:1 d1", "start d1", "linked t:2 c2", "write c2 4 5 6", "export c2 b1.clade", "untested c2 v:1", "export v:1 b2.clade", "untemplate v:1", "rm c2"}

// errorsOf are the errors that a call may end with.
func errorsOf(c call) []syscall.Errno {
	switch c.name {
	case "open":
		list := []syscall.Errno{syscall.EACCES, syscall.EMFILE, syscall.EIO}
		if c.create {
			list = append(list, syscall.ENOSPC)
		}
		return list
	case "mkdir", "rename", "link", "symlink":
		return []syscall.Errno{syscall.ENOSPC, syscall.EACCES, syscall.EIO}
	case "unlink", "chmod", "stat":
		return []syscall.Errno{syscall.EACCES, syscall.EIO}
	case "write", "truncate", "sync", "syncfs":
		return []syscall.Errno{syscall.ENOSPC, syscall.EIO}
	}
	return []syscall.Errno{syscall.EIO}
}

// fails are the calls that a full disk keeps refusing.
func (c call) takesSpace() bool {
	return c.create || slices.Contains([]string{"mkdir", "rename", "link", "symlink", "write", "truncate"}, c.name)
}

// A fault is one call of an act, the nth of its sign, and what it ends with.
type fault struct {
	act   string
	call  call
	nth   int
	errno syscall.Errno
}

func (f fault) String() string {
	return fmt.Sprintf("%s: %v at the call %s, number %d", f.act, f.errno, f.call.sign(), f.nth)
}

// common tells whether the call is one that every command begins with. Such faults
// are shared out among the acts.
func (f fault) common() bool {
	home := []string{"clade.db", "clade.db-wal", "clade.db-shm", "home.lock", "tmp", "machines", "layers"}
	return slices.Contains(home, f.call.path) && slices.Contains([]string{"open", "read", "readdir", "stat"}, f.call.name)
}

func (f fault) hash() uint32 {
	h := fnv.New32()
	_, _ = h.Write([]byte(f.String()))
	return h.Sum32()
}

// kinds are what the error may be called. SQLite does not tell all that it knows.
func (f fault) kinds() []clade.Kind {
	if strings.Contains(f.call.path, "clade.db") {
		return []clade.Kind{clade.NoSpace, clade.Denied, clade.Corrupt, clade.Busy}
	}
	return map[syscall.Errno][]clade.Kind{syscall.ENOSPC: {clade.NoSpace}, syscall.EIO: {clade.Corrupt},
		syscall.EACCES: {clade.Denied}, syscall.EMFILE: {clade.Busy}}[f.errno]
}

// judge lets all calls go but that one; a disk that is full stays full.
func (f fault) judge() func(call) syscall.Errno {
	seen, full := 0, false
	return func(c call) syscall.Errno {
		if full && c.takesSpace() {
			return f.errno
		}
		if c.sign() != f.call.sign() {
			return 0
		}
		if seen++; seen == f.nth {
			full = f.errno == syscall.ENOSPC
			return f.errno
		}
		return 0
	}
}

// TestFaults makes each file operation of each act fail in turn, with each error it
// can have. Either the act succeeds all the same or it says what sort of failure it
// was, and did not happen; and after the next command the home is whole.
func TestFaults(t *testing.T) {
	var next, faults, refused atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		disk := newDrive(t)
		r := rigged(t, disk)
		x := newTrap(t, r.dir)
		workers.Go(func() {
			if err := r.steps(suffering); err != nil {
				t.Error(err)
				return
			}
			for i := next.Add(1) - 1; i < int64(len(ordeals)); i = next.Add(1) - 1 {
				if !strings.Contains(ordeals[i].act, *ordealsWith) {
					continue
				}
				n, failed, err := r.suffer(t, x, ordeals[i])
				if err != nil {
					t.Errorf("%s: %v", ordeals[i].act, err)
				}
				faults.Add(int64(n))
				refused.Add(int64(failed))
			}
		})
	}
	workers.Wait()
	t.Logf("%d faults in %d acts, %d of them refused", faults.Load(), len(ordeals), refused.Load())
}

// suffer does one act with a fault at each of its calls.
func (r *rig) suffer(t *testing.T, x *trap, o ordeal) (n, refused int, err error) {
	var calls []call
	record := func(c call) syscall.Errno { calls = append(calls, c); return 0 }
	if err := r.steps(o.before); err != nil {
		return 0, 0, err
	}
	want := r.model.apply(o.act)
	kind, text, err := x.do(o.act, record)
	if err != nil || kind != want {
		return 0, 0, fmt.Errorf("without a fault: %q: %s (%w)", kind, text, err)
	}
	if err := errors.Join(r.same(r.model), r.steps(o.after)); err != nil {
		return 0, 0, fmt.Errorf("without a fault: %w", err)
	}
	for _, f := range faultsOf(o.act, calls) {
		failed, err := r.endure(x, o, f)
		if err != nil {
			t.Errorf("%v: %v", f, err)
			if err := r.same(r.model); err != nil { // there is no going on with this home
				return n, refused, err
			}
		}
		n++
		if failed {
			refused++
		}
		if err := r.steps(o.after); err != nil {
			return n, refused, fmt.Errorf("%v: after it: %w", f, err)
		}
	}
	return n, refused, nil
}

// faultsOf chooses the first calls of each sign, or all.
func faultsOf(act string, calls []call) (list []fault) {
	seen := map[string]int{}
	for _, c := range calls {
		// These programs stand for the appliance, and for a QEMU that runs; those files are
		// what the driver without a guest has in place of one.
		if c.tool == "qemu-io" || c.tool == "qemu-img" && act == "promote r1" || strings.Contains(c.path+"/", "/guest/") {
			continue
		}
		seen[c.sign()]++
		if nth := seen[c.sign()]; *faultsOfAKind == 0 || nth <= *faultsOfAKind {
			for _, errno := range errorsOf(c) {
				f := fault{act, c, nth, errno}
				if *faultsOfAKind == 0 || (!f.common() || f.hash()%8 == 0) && (!slices.Contains(long, act) || f.hash()%3 == 0) {
					list = append(list, f)
				}
			}
		}
	}
	return list
}

// steps does acts without a look at what they did: that is what the next act is for.
func (r *rig) steps(acts []string) error {
	for _, act := range acts {
		want := r.model.apply(act)
		if err := r.do(act); clade.KindOf(err) != want {
			return fmt.Errorf("%s: its kind is not %q: %w", act, want, err)
		}
	}
	return nil
}

// endure does an act with one fault and looks at what is left.
func (r *rig) endure(x *trap, o ordeal, f fault) (failed bool, err error) {
	if err := r.steps(o.before); err != nil {
		return false, err
	}
	kind, text, err := x.do(o.act, f.judge())
	if err != nil {
		return false, err
	}
	next := r.model.clone()
	want := next.apply(o.act)
	if kind == want {
		err = r.recover(o.act)
		r.model = next
		return false, errors.Join(err, r.same(next))
	}
	if !slices.Contains(f.kinds(), kind) || text == "" {
		err = fmt.Errorf("its kind is %q (%s), want one of %q", kind, text, f.kinds())
	}
	if e := r.recover(o.act); e != nil {
		return true, errors.Join(err, fmt.Errorf("%s; the next command: %w", text, e))
	}
	if e := r.either(o.act, next, true); e != nil {
		return true, errors.Join(err, fmt.Errorf("%s; %w", text, e))
	}
	verb, _, _ := strings.Cut(o.act, " ")
	tells := !slices.Contains([]string{"collect", "verify", "start", "kill", "compact"}, verb) && o.act != "promote r1" // the others are done again, or leave nothing to tell by
	if tells && r.model == next && !strings.Contains(text, "it is done") && !strings.Contains(text, "the commit failed") {
		err = errors.Join(err, fmt.Errorf("it says %q, and happened", text))
	}
	return true, err
}
