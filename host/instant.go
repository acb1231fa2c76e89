package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/live"
	"github.com/clade-vm/clade/qcow2"
	"github.com/clade-vm/clade/store"
	"github.com/google/uuid"
)

// A waker wakes instant clones of one warm template.
type waker struct {
	h           *Host
	saver       saver
	w           *clade.Warm
	accelerator string
	storm       *storm
}

// waker makes sure that a warm template can be resumed here, now.
func (h *Host) waker(ctx context.Context, id, on string, p clade.Progress) (*waker, error) {
	w, err := h.warm(ctx, id)
	if err != nil {
		return nil, err
	}
	k := &waker{h: h, w: w}
	if k.saver, err = h.saver("wake", on); err != nil {
		return nil, err
	}
	if k.accelerator, err = h.Accelerator(ctx, p); err != nil {
		return nil, err
	}
	if err := h.boundHere(ctx, k.saver, w, k.accelerator); err != nil {
		return nil, err
	}
	if err := h.warmIntact(w); err != nil {
		return nil, err
	}
	k.storm, err = h.storm(ctx, w)
	return k, err
}

// wake resumes a machine that is asleep, makes it one of its own and only then
// connects it to its network. What goes wrong ends it, asleep as before: it never
// meets the network with its siblings' identity. The caller holds m.
func (k *waker) wake(ctx context.Context, m *store.Machine, p clade.Progress) (err error) {
	h, place := k.h, k.h.place(m.ID)
	if err := k.storm.admit(ctx, string(m.Name), p); err != nil {
		return err
	}
	pid := 0
	defer func() { k.storm.runs(pid) }()
	p.Tell(clade.Event{Step: "wake machine " + string(m.Name)})
	spec, err := k.prepare(ctx, m)
	if err != nil {
		return err
	}
	nic := spec.NIC
	spec.NIC = nil
	if err := h.Driver.Start(ctx, place, spec); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Driver.Kill(context.WithoutCancel(ctx), place))
		}
	}()
	h.did("wake: resumed")
	status, err := h.Driver.Status(ctx, place)
	if err != nil {
		return err
	}
	pid = status.PID
	woken, err := k.identify(ctx, m)
	if err != nil {
		return err
	}
	h.did("wake: re-identified")
	if nic != nil {
		if err := k.saver.Plug(ctx, place, *nic); err != nil {
			return err
		}
		h.did("wake: plugged in")
		if err := h.connect(ctx, m.Network, m.Identity.Hostname); err != nil {
			return err
		}
	}
	if err := k.userData(ctx, m, p); err != nil {
		return err
	}
	if err := h.db.Write(ctx, func(tx *store.Tx) error { return tx.Woke(m.ID, woken.MachineID) }); err != nil {
		return err
	}
	h.did("wake: recorded")
	p.Tell(clade.Event{Step: "wake machine " + string(m.Name), End: true})
	return nil
}

// prepare ends a machine that a killed command had begun to wake, which has the identity
// of nobody, and makes what m is resumed with.
func (k *waker) prepare(ctx context.Context, m *store.Machine) (spec hypervisor.Spec, err error) {
	h, place := k.h, k.h.place(m.ID)
	if err := h.Driver.Kill(ctx, place); err != nil {
		return spec, err
	}
	if err := h.emptyHeads(m); err != nil {
		return spec, err
	}
	if err := h.writeSeed(m); err != nil {
		return spec, err
	}
	spec = h.spec(m, k.accelerator)
	spec.Machine = k.w.Bound.Machine
	spec.Memory = &hypervisor.Memory{File: h.warmPath(k.w.ID, ramFile), State: h.warmPath(k.w.ID, stateFile)}
	return spec, os.MkdirAll(place.Run, 0o700)
}

// identify makes the resumed guest m, and compares what its kernel drew with what
// all its siblings ever drew. Kind Unproven where it is a twin of one of them.
func (k *waker) identify(ctx context.Context, m *store.Machine) (*live.Woken, error) {
	id, err := uuid.Parse(m.Identity.UUID)
	if err != nil {
		return nil, err
	}
	reach, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	g, err := k.saver.Guest(reach, k.h.place(m.ID))
	if err != nil {
		return nil, err
	}
	defer g.Close()
	to := live.Waking{Identity: live.Identity{Hostname: m.Identity.Hostname}, UUID: id, User: m.User, Keys: m.SSHKeys, Seedless: k.h.Seedless}
	if len(m.UserData) == 0 { // else cloud-init takes it for a new machine, and does its work
		to.InstanceID = m.Identity.InstanceID
	}
	woken, err := live.Wake(ctx, g, to)
	if err != nil {
		return nil, err
	}
	err = k.h.db.Write(ctx, func(tx *store.Tx) error { return tx.AddDraws(k.w.ID, woken.Draws) })
	if errors.Is(err, clade.Exists) {
		err = &clade.Error{Op: "wake", On: "machine " + string(m.Name), Kind: clade.Unproven,
			Err: errors.New("its kernel drew the random numbers that a sibling's drew"), Hint: "it is ended; this is a bug of clade or of the guest's kernel: report it"}
	}
	return woken, err
}

// userDataScript has cloud-init do for a woken machine what it does for a new one:
// it forgets what it did and knew before, and reads the seed as it is now.
const userDataScript = `export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec 3>&1 >/dev/null 2>&1
cloud-init clean && rm -rf /run/cloud-init/.instance-id /run/cloud-init/sem /run/cloud-init/result.json || exit
blockdev --flushbufs /dev/disk/by-label/cidata /dev/disk/by-label/CIDATA
cloud-init init --local && cloud-init init && cloud-init modules --mode=config && cloud-init modules --mode=final || exit
cat /var/lib/cloud/data/instance-id >&3`

// userData has the machine's own cloud-init user data applied, if it has some.
func (k *waker) userData(ctx context.Context, m *store.Machine, p clade.Progress) error {
	if len(m.UserData) == 0 {
		return nil
	}
	step := "apply the user data of machine " + string(m.Name)
	p.Tell(clade.Event{Step: step})
	g, err := k.saver.Guest(ctx, k.h.place(m.ID))
	if err != nil {
		return err
	}
	defer g.Close()
	exit, err := g.Exec(ctx, clade.Command{Args: []string{"/bin/sh", "-c", userDataScript}})
	if err == nil && exit.Status != 0 {
		err = &clade.Error{Op: "apply", On: "user data", Kind: clade.Invalid, Err: fmt.Errorf("cloud-init ended with status %d: %.200q", exit.Status, exit.Err),
			Hint: "try it with a linked clone, and look: clade logs"}
	}
	if err == nil && strings.TrimSpace(string(exit.Out)) != m.Identity.InstanceID {
		err = &clade.Error{Op: "apply", On: "user data", Kind: clade.Unsupported, Err: fmt.Errorf("cloud-init took the machine for instance %.60q", exit.Out),
			Hint: "make a linked clone"}
	}
	p.Tell(clade.Event{Step: step, End: true})
	return err
}

// emptyHeads makes the heads of a machine that is asleep what its warm template
// needs them to be: it may have been resumed and ended.
func (h *Host) emptyHeads(m *store.Machine) error {
	for i, file := range h.headPaths(m) {
		if empty, err := qcow2.Empty(file); err != nil || empty {
			if err != nil {
				return err
			}
			continue
		}
		aside := filepath.Join(h.machineDir(m.ID), "empty"+qcow2Ext)
		if err := os.RemoveAll(aside); err != nil {
			return err
		}
		if err := writeHead(aside, m.Disks[i].Layer, m.Disks[i].Virtual); err != nil {
			return err
		}
		if err := os.Rename(aside, file); err != nil {
			return err
		}
	}
	return nil
}

// writeHead makes an empty head that rests on a layer.
func writeHead(path, layer string, virtual clade.Bytes) error {
	return qcow2.WriteOverlay(path, head(layer, virtual))
}

// wakeOne wakes a machine that the caller holds.
func (h *Host) wakeOne(ctx context.Context, m *store.Machine, p clade.Progress) error {
	k, err := h.waker(ctx, m.Warm, "machine "+string(m.Name), p)
	if err != nil {
		return err
	}
	return k.wake(ctx, m, p)
}

// wakeAll wakes new instant clones, as many at once as the computer has processors.
// They are all awake then, or all removed.
func (h *Host) wakeAll(ctx context.Context, machines []*store.Machine, p clade.Progress) error {
	k, err := h.waker(ctx, machines[0].Warm, "machine "+string(machines[0].Name), p)
	if err == nil {
		err = k.all(ctx, machines, p)
	}
	if err == nil {
		return nil
	}
	clean := context.WithoutCancel(ctx)
	errs := []error{err}
	for _, m := range machines {
		errs = append(errs, h.abandon(clean, m))
	}
	return errors.Join(errs...)
}

func (k *waker) all(ctx context.Context, machines []*store.Machine, p clade.Progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan *store.Machine, len(machines))
	for _, m := range machines {
		work <- m
	}
	close(work)
	var wg sync.WaitGroup
	for range min(runtime.NumCPU(), len(machines)) {
		wg.Go(func() {
			for m := range work {
				if ctx.Err() != nil {
					return
				}
				if err := k.wakeHeld(ctx, m.Name, p); err != nil {
					cancel(fileError("wake", "machine "+string(m.Name), err))
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// wakeHeld holds a machine and wakes it.
func (k *waker) wakeHeld(ctx context.Context, name clade.Name, p clade.Progress) error {
	m, release, err := k.h.hold(ctx, name, "wake")
	if err != nil {
		return err
	}
	defer release()
	return k.wake(ctx, m, p)
}

// abandon ends and removes a clone that could not be completed.
func (h *Host) abandon(ctx context.Context, m *store.Machine) error {
	err := h.db.Write(ctx, func(tx *store.Tx) error { return tx.RemoveMachine(m.ID) })
	if err != nil {
		return err
	}
	h.did("wake: clone given up")
	return h.erase(ctx, m.ID)
}

// awake refuses what would make a machine, that has the disk of its warm template
// still, boot or live on from there: it would be a twin. Kind Unsupported.
func awake(m *store.Machine, op string) error {
	if !m.Asleep {
		return nil
	}
	return &clade.Error{Op: op, On: "machine " + string(m.Name), Kind: clade.Unsupported, Err: errors.New("it is asleep: it has nothing of its own yet"),
		Hint: "wake it first: clade start " + string(m.Name)}
}

// endSleepers ends machines that run although they are asleep: whoever was waking
// them died. One that another command holds is being woken.
func (h *Host) endSleepers(ctx context.Context) error {
	var asleep []*store.Machine
	err := h.db.Read(ctx, func(tx *store.Tx) (err error) {
		asleep, err = tx.Asleep()
		return err
	})
	for _, m := range asleep {
		status, failed := h.Driver.Status(ctx, h.place(m.ID))
		if failed != nil || status.State == clade.Stopped {
			err = errors.Join(err, failed)
			continue
		}
		held, release, failed := h.holdWithin(ctx, 0, m.Name, "wake")
		if failed != nil {
			continue // it is being woken, or gone
		}
		if held.Asleep {
			err = errors.Join(err, h.Driver.Kill(ctx, h.place(m.ID)))
		}
		release()
	}
	return err
}

// instantBase makes b what instant clones of a template rest on. Kind Unsupported
// where the template is not warm, or something else than what it kept is asked for.
func (h *Host) instantBase(ctx context.Context, b *base, spec clade.CloneSpec) error {
	if b.template == nil {
		return &clade.Error{Op: "clone", On: b.source, Kind: clade.Unsupported, Err: errors.New("instant clones are made of templates"),
			Hint: "make one of it: clade template create NAME --from " + spec.Source}
	}
	if strings.HasPrefix(spec.Network, bridgePrefix) {
		return &clade.Error{Op: "clone", On: b.source, Kind: clade.Unsupported, Err: errors.New("an instant clone cannot be plugged into a bridge"),
			Hint: "use a user network, or make linked clones"}
	}
	if err := h.countMachines(ctx, []*clade.Template{b.template}); err != nil {
		return err
	}
	if len(b.added) > 0 {
		return &clade.Error{Op: "clone", On: b.source, Kind: clade.Unsupported, Err: errors.New("instant clones have the disks of their warm template, and no others"),
			Hint: "make linked clones, or a template with data disks"}
	}
	w := b.template.Warm
	if w == nil {
		return notWarm("clone", b.template)
	}
	if want := hardware(spec.Hardware, w.Hardware); want != w.Hardware {
		return &clade.Error{Op: "clone", On: b.source, Kind: clade.Unsupported,
			Err:  fmt.Errorf("it was kept with %d processors and %v of memory: its instant clones have the same", w.Hardware.CPUs, w.Hardware.Memory),
			Hint: fmt.Sprintf("warm it as you want it: clade template warm %s --cpus %d --memory %s", b.template.Ref(), want.CPUs, want.Memory.Flag())}
	}
	b.warm, b.hardware, b.layers, b.virtual = w, w.Hardware, nil, nil
	for _, d := range w.Disks {
		b.layers, b.virtual = append(b.layers, d.Layer), append(b.virtual, d.Virtual)
	}
	return h.warmIntact(w)
}

// rests tells whether clones of a kind rest on layers.
func rests(kind clade.CloneKind) bool {
	return slices.Contains([]clade.CloneKind{clade.Linked, clade.Instant}, kind)
}
