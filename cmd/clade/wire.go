package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/debian"
	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/host"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/qemu"
	"github.com/clade-vm/clade/recipe"
)

// probeLimit is how long a guest may take to boot and answer under KVM, where it
// takes a second; under a KVM that does not work it hangs.
const probeLimit = 20 * time.Second

// open wires a host from the adapters and opens the home in dir.
func open(ctx context.Context, dir string, log *slog.Logger) (*host.Host, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	run, err := runDir(dir)
	if err != nil {
		return nil, err
	}
	driver := qemu.New(qemu.Config{Log: log})
	vm := &appliance.Appliance{Dir: filepath.Join(cache, "appliance"), Kernel: os.Getenv("CLADE_KERNEL"), Log: log}
	works := func(ctx context.Context, _ clade.Progress) bool {
		ctx, cancel := context.WithTimeout(ctx, probeLimit)
		defer cancel()
		return vm.Hello(ctx, "kvm") == nil
	}
	budget, err := chainBudget(os.Getenv("CLADE_CHAIN_BUDGET"))
	if err != nil {
		return nil, err
	}
	accelerator := host.Probe(cache, driver.Version, works)
	return host.Open(ctx, host.Config{
		Dir: dir, Run: run, Cache: cache, Driver: driver, Log: log, Budget: budget,
		Appliance:   disks{vm, accelerator},
		Accelerator: accelerator,
		BuildDisk: func(ctx context.Context, r *recipe.Recipe, dst string, p clade.Progress) error {
			return debian.Build(ctx, debian.Options{Recipe: r, Dst: dst, Work: filepath.Dir(dst), Log: dst + ".log"}, p)
		},
		Checks:   func(ctx context.Context, p clade.Progress) []clade.Check { return checks(ctx, driver, vm, p) },
		Seedless: seedless != "",
		Self:     []string{self, "--home", dir},
	})
}

// chainBudget reads how many layers may lie below a head; 0 where that is not said.
func chainBudget(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 200 {
		return 0, &clade.Error{Op: "read", On: "CLADE_CHAIN_BUDGET", Kind: clade.Invalid, Err: fmt.Errorf("%.20q is no number from 1 to 200", text),
			Hint: "leave it unset: 16 is a good choice"}
	}
	return n, nil
}

// disks is the appliance under the accelerator that works here.
type disks struct {
	vm          *appliance.Appliance
	accelerator func(context.Context, clade.Progress) (string, error)
}

func (d disks) Generalize(ctx context.Context, list []appliance.Disk, o appliance.Options, p clade.Progress) (*generalize.Report, error) {
	vm, err := d.accelerated(ctx, p)
	if err != nil {
		return nil, err
	}
	return vm.Generalize(ctx, list, o, p)
}

func (d disks) Read(ctx context.Context, machines [][]appliance.Disk, extent identity.Extent, p clade.Progress) ([]appliance.Result, error) {
	vm, err := d.accelerated(ctx, p)
	if err != nil {
		return nil, err
	}
	return vm.Read(ctx, machines, extent, p)
}

func (d disks) Merge(ctx context.Context, t appliance.Trio, p clade.Progress) (*clade.Merge, bool, error) {
	vm, err := d.accelerated(ctx, p)
	if err != nil {
		return nil, false, err
	}
	return vm.Merge(ctx, t, p)
}

func (d disks) accelerated(ctx context.Context, p clade.Progress) (*appliance.Appliance, error) {
	vm := *d.vm
	var err error
	vm.Accel, err = d.accelerator(ctx, p)
	return &vm, err
}

// checks are the doctor's findings about the tools that the adapters drive.
func checks(ctx context.Context, driver *qemu.Driver, vm *appliance.Appliance, p clade.Progress) []clade.Check {
	q := clade.Check{Name: "qemu", Required: true}
	version, err := driver.Version(ctx)
	if q.OK, q.Found = err == nil, version; err != nil {
		q.Found, q.Fix = "not found", clade.HintOf(err)
	}
	k := clade.Check{Name: "appliance kernel", Required: true}
	kernel, err := appliance.FindKernel(ctx, vm.Dir, vm.Kernel, p)
	if k.OK = err == nil; k.OK {
		k.Found = kernel.Release + " (" + kernel.Source + ")"
	} else {
		k.Found, k.Fix = err.Error(), clade.HintOf(err)
	}
	return append([]clade.Check{q, k}, debian.Check(ctx)...)
}
