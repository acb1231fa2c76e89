// Package appliance works on the disks of stopped machines in a tiny VM: a stock
// distribution kernel whose /init is the clade binary itself.
//
// It promises that the host's kernel never mounts a guest's file system, that
// what is read is not written (not one byte), and that no hypervisor process is
// left behind: not by an error, not by a cancelled context, not by the death of
// clade. The VM has no network. One boot serves many disks.
//
// Disks are opened with explicit formats. A qcow2 file that names a backing file
// is refused unless the caller vouches for it, and one with an external data file
// always is. The package does not decide what to erase: generalize does.
package appliance

import (
	"log/slog"
	"os"

	"github.com/clade-vm/clade"
)

// An Appliance boots the VM. Its methods are safe for concurrent use, also by
// several processes on one Dir.
type Appliance struct {
	QEMU   string       // qemu-system-x86_64; empty: from PATH
	Dir    string       // the cache: kernels and initramfs archives; made where missing
	Kernel string       // a configured kernel image; empty: found, see FindKernel
	Accel  string       // "kvm" or "tcg"; empty: tcg, which always works
	Init   string       // a static binary that calls guest.Main; empty: this program
	Memory clade.Bytes  // empty: chosen by the number of disks
	Log    *slog.Logger // nil: silent
}

// Options are the choices of Generalize.
type Options struct {
	Enable  []string // marks to erase that are off by default
	Disable []string // marks to leave
	System  string   // which operating system, where the disks hold several
}

func (a *Appliance) log() *slog.Logger {
	if a.Log != nil {
		return a.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (a *Appliance) init() (string, error) {
	if a.Init != "" {
		return a.Init, nil
	}
	return os.Executable()
}
