package host

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/image"
)

// lowSpace is how much free disk a home should have: a master and some clones.
const lowSpace = 4 * clade.GiB

// Examine tells what of the computer clade needs is there, and what to do where
// it is not. It ends with the functional probe of the accelerator.
func (h *Host) Examine(ctx context.Context, p clade.Progress) ([]clade.Check, error) {
	checks := h.Checks(ctx, p)
	checks = append(checks, h.memory(), h.disk(), h.sealing())
	c := clade.Check{Name: "accelerator", Required: true}
	accelerator, err := h.Accelerator(ctx, p)
	switch {
	case err != nil:
		c.Found, c.Fix = err.Error(), clade.HintOf(err)
	case accelerator == "kvm":
		c.OK, c.Found = true, "kvm: a guest boots and answers"
	default:
		c.OK, c.Found = true, "tcg: works, slowly; no guest boots under KVM here"
		c.Fix = kvmFix()
	}
	return append(checks, c), ctx.Err()
}

func kvmFix() string {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case os.IsNotExist(err):
		return "enable virtualization in the firmware, or nested virtualization on the hypervisor below"
	case os.IsPermission(err):
		return `sudo usermod -aG kvm "$USER", and log in again`
	case err == nil:
		_ = f.Close()
	}
	return "/dev/kvm is there but no guest gets through: the hypervisor below does not do nested virtualization properly"
}

func (h *Host) memory() clade.Check {
	c := clade.Check{Name: "memory"}
	available, total := meminfo()
	c.OK = available >= 2*clade.GiB
	c.Found = fmt.Sprintf("%v available of %v", available, total)
	if !c.OK {
		c.Fix = "a machine takes 1 GiB unless told otherwise (--memory)"
	}
	return c
}

func meminfo() (available, total clade.Bytes) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var n clade.Bytes
		if _, err := fmt.Sscanf(s.Text(), "MemTotal: %d kB", &n); err == nil {
			total = n * clade.KiB
		}
		if _, err := fmt.Sscanf(s.Text(), "MemAvailable: %d kB", &n); err == nil {
			available = n * clade.KiB
		}
	}
	return available, total
}

func (h *Host) disk() clade.Check {
	c := clade.Check{Name: "disk"}
	free, err := image.Space(h.Dir)
	if err != nil {
		c.Found = err.Error()
		return c
	}
	c.OK = free >= lowSpace
	c.Found = fmt.Sprintf("%v free in %s; full copies are real copies there", free, h.Dir)
	if image.Reflinks(h.path(tmpDir)) {
		c.Found = fmt.Sprintf("%v free in %s; full copies are instant (reflink)", free, h.Dir)
	}
	if !c.OK {
		c.Fix = "free some space, or use another home: CLADE_HOME"
	}
	return c
}

// A probed accelerator is remembered for one boot of the computer and one
// version of the hypervisor.
type probed struct {
	Boot        string `json:"boot"`
	Version     string `json:"version"`
	Accelerator string `json:"accelerator"`
}

// Probe returns an Accelerator that asks works once for each boot of the
// computer and version of the hypervisor: whether a guest boots and answers
// under KVM. The answer is kept in dir.
func Probe(dir string, version func(context.Context) (string, error), works func(context.Context, clade.Progress) bool) func(context.Context, clade.Progress) (string, error) {
	return func(ctx context.Context, p clade.Progress) (string, error) {
		v, err := version(ctx)
		if err != nil {
			return "", err
		}
		boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
		now := probed{Boot: strings.TrimSpace(string(boot)), Version: v}
		file := dir + "/" + acceleratorFile
		var before probed
		if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &before) == nil {
			if before.Boot == now.Boot && before.Version == now.Version && before.Accelerator != "" {
				return before.Accelerator, nil
			}
		}
		now.Accelerator = "tcg"
		if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
			_ = f.Close()
			p.Tell(clade.Event{Step: "probe KVM"})
			if works(ctx, p) {
				now.Accelerator = "kvm"
			}
			p.Tell(clade.Event{Step: "probe KVM", End: true})
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		data, err := json.Marshal(now)
		if err != nil {
			return "", err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		return now.Accelerator, replaceFile(file, data)
	}
}
