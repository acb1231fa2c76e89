// Package guest is the inside of the appliance: what clade does as pid 1 of the
// tiny VM, and the protocol it speaks with the host.
//
// It finds the file systems on the disks it is given, mounts them the way the
// guest's own fstab says, and lets generalize and identity work on them. It
// promises that read-only work mounts nothing in a way that writes, and that
// nothing of a guest is executed. What lies on the disks is hostile: the parsers
// are bounded, and names and options of a guest reach the kernel only validated.
//
// Only the types, the frames and the paths are for the host's side; the rest
// makes sense in the VM alone.
package guest

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Variable is what the kernel's command line sets to 1 in the environment of the
// VM's init. Without it pid 1 is an ordinary process, as in a container.
const Variable = "CLADE_APPLIANCE"

// Directories are what the archive of the VM's root must hold, parents first.
var Directories = []string{"/proc", "/sys", "/dev", "/run"}

// PortName is the name of the virtio-serial port the protocol uses.
const PortName = "clade"

// Boots reports whether this process is the init of an appliance.
func Boots() bool { return os.Getpid() == 1 && os.Getenv(Variable) == "1" }

// Main is the whole life of the appliance: it makes the VM usable, serves the
// host's requests and powers off. It does not return. Call it first of all in
// main, if Boots says so.
func Main() {
	// A system call takes long under emulation, and after 20 µs the runtime gives its
	// processor to another thread, unless there are some without work.
	runtime.GOMAXPROCS(runtime.NumCPU() + 3)
	debug.SetGCPercent(800) // the VM is short-lived, and has memory to spare
	debug.SetMemoryLimit(160 << 20)
	if err := live(); err != nil {
		fmt.Fprintf(os.Stderr, "clade appliance: %v\n", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintf(os.Stderr, "clade appliance: power off: %v\n", err)
	}
	select {}
}

func live() error {
	if err := mountKernel(); err != nil {
		return err
	}
	mods, err := readModules(ModuleIndex)
	if err != nil {
		return err
	}
	for _, name := range []string{"virtio_mmio", "virtio_pci", "virtio_console"} {
		if err := mods.load(name); err != nil {
			return err
		}
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	defer port.Close()
	s := newServer(port, mods)
	if err := s.serve(); err != io.EOF {
		return err
	}
	return nil
}
