package appliance

import (
	"encoding/json"
	"fmt"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance/guest"
)

// MaxDisks is how many disks one boot takes.
const MaxDisks = 250

// maxBlock is how many disks get a virtio device each; microvm has 24 slots with
// its second interrupt controller, and one of them is the port's. Those after them
// share one virtio SCSI bus, which takes the VM longer to find.
const maxBlock = 20

// A spec is everything QEMU is told. Its arguments are a pure function of it.
type spec struct {
	accel  string
	cpus   int
	ticks  uint64 // kHz, see ticks
	memory clade.Bytes
	kernel string
	initrd string
	disks  [][]link // the files of each disk, from the top
	write  []bool   // by disk
	uring  bool     // files that are only read are read by io_uring
}

// portFD is the number of the connected socket of the port in QEMU.
const portFD = 3

// cmdline keeps the kernel quiet but for what explains a failure, and makes a
// panic end the VM at once. No program of a guest runs in the VM: what protects
// programs from one another only makes it slow, and so does clearing memory before
// and after its use. Neither is a kernel of one processor rewritten for it, nor
// are its own lists for tracers and BPF made, which take longer than all drivers
// together. Its clock ticks, and is not set anew for each sleep, which is an exit to
// QEMU; nobody asks how long tasks wait. The variable at the end is for the environment
// of init.
const cmdline = "console=ttyS0 loglevel=3 panic=-1 reboot=t random.trust_cpu=on cryptomgr.notests " +
	"mitigations=off lsm=capability scsi_mod.scan=sync rcupdate.rcu_expedited=1 " +
	"init_on_alloc=0 retain_initrd noreplace-smp nohz=off highres=off psi=0 initcall_blacklist=" + unneeded + " " + guest.Variable + "=1"

// unneeded are the kernel's first calls that serve nothing in the VM and that
// nothing else rests on. A kernel that has no such call passes its name over.
const unneeded = "ftrace_check_for_weak_functions,trace_eval_init," + // lists for tracers
	"cubictcp_register,bpf_tcp_ca_kfunc_init,bpf_prog_test_run_init,kfunc_init,bpf_key_sig_kfuncs_init,bpf_rstat_kfunc_init," + // each reads all of BPF's types
	"crypto_kdf108_init" // tests itself

// serial is how the VM tells disk number i.
func serial(i int) string { return fmt.Sprintf("clade-%d", i) }

// args returns QEMU's arguments.
func (s spec) args() ([]string, error) {
	cpu, line := "host", cmdline
	if s.accel == "tcg" {
		// Without ERMS the kernel copies by eight bytes and not by one, which to TCG is
		// a step each.
		cpu, line = "max,-erms", fmt.Sprintf("%s tsc=reliable tsc_early_khz=%d", cmdline, s.ticks)
	}
	args := []string{
		"-M", "microvm,usb=off,graphics=off",
		"-accel", s.accel, "-cpu", cpu, "-smp", fmt.Sprint(s.cpus), "-m", fmt.Sprintf("%dM", s.memory/clade.MiB),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-kernel", s.kernel, "-initrd", s.initrd, "-append", line,
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=port,fd=%d", portFD),
		"-device", "virtio-serial-device,max_ports=2",
		"-device", "virtserialport,chardev=port,name=" + guest.PortName,
	}
	if len(s.disks) > maxBlock {
		args = append(args, "-device", "virtio-scsi-device,id=scsi")
	}
	for i, links := range s.disks {
		nodes, err := blockdevs(i, links, s.write[i], s.uring)
		if err != nil {
			return nil, err
		}
		for _, node := range nodes {
			args = append(args, "-blockdev", node)
		}
		device := fmt.Sprintf("virtio-blk-device,discard_granularity=512,drive=d%d,serial=%s", i, serial(i))
		if i >= maxBlock {
			device = fmt.Sprintf("scsi-hd,bus=scsi.0,discard_granularity=512,scsi-id=%d,lun=0,drive=d%d,serial=%s", i, i, serial(i))
		}
		args = append(args, "-device", device)
	}
	return args, nil
}

// A blockdev is one node of QEMU's block graph.
type blockdev struct {
	Driver       string `json:"driver"`
	Name         string `json:"node-name"`
	ReadOnly     bool   `json:"read-only"`
	Discard      string `json:"discard,omitempty"`
	DetectZeroes string `json:"detect-zeroes,omitempty"`
	File         string `json:"file,omitempty"`
	Filename     string `json:"filename,omitempty"`
	Locking      string `json:"locking,omitempty"`
	AIO          string `json:"aio,omitempty"`
	Cache        *cache `json:"cache,omitempty"`
}

// A cache is how QEMU keeps what a file holds.
type cache struct {
	NoFlush bool `json:"no-flush"`
}

// blockdevs returns the nodes of a disk, each after those it uses: d0 is the top
// of the first disk, d0-1 the file below it, d0-1-f the way to that file.
func blockdevs(disk int, links []link, write, uring bool) ([]string, error) {
	var nodes []string
	for i := len(links) - 1; i >= 0; i-- {
		name := fmt.Sprintf("d%d-%d", disk, i)
		if i == 0 {
			name = fmt.Sprintf("d%d", disk)
		}
		readOnly := i > 0 || !write
		file := blockdev{Driver: "file", Name: name + "-f", ReadOnly: readOnly, Filename: links[i].path, Locking: "on"}
		node := blockdev{Driver: string(links[i].format), Name: name, ReadOnly: readOnly, File: file.Name}
		if readOnly && uring {
			file.AIO = "io_uring"
		}
		if !readOnly {
			file.Discard, node.Discard, node.DetectZeroes = "unmap", "unmap", "unmap"
			file.Cache = &cache{NoFlush: true} // what is written counts at the end only, see run
		}
		for _, n := range []blockdev{file, node} {
			below := ""
			if i+1 < len(links) {
				below = fmt.Sprintf("d%d-%d", disk, i+1)
			}
			text, err := n.text(below)
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, text)
		}
	}
	return nodes, nil
}

// text returns the node as JSON, resting on the node below if that is not empty.
// A qcow2 node that rests on nothing says so: what a header says about backing
// files is never followed by QEMU itself.
func (n blockdev) text(below string) (string, error) {
	if n.Driver != string(Qcow2) {
		text, err := json.Marshal(n)
		return string(text), err
	}
	var backing *string
	if below != "" {
		backing = &below
	}
	type plain blockdev
	text, err := json.Marshal(struct {
		plain
		Backing *string `json:"backing"`
	}{plain(n), backing})
	return string(text), err
}
