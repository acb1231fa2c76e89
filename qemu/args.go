package qemu

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// Where everything sits on the PCI bus. The slots are fixed, so that the same
// guest finds the same names (enp0s2, vda) whatever else the machine has; disks
// come before the seed, since guests name them in this order.
const (
	slotNIC    = 0x02 // 1 is left for a screen
	slotDisk   = 0x03 // and the following
	slotSeed   = 0x17
	slotSerial = 0x18
	slotRandom = 0x19
	slotPorts  = 0x1a

	maxDisks   = slotSeed - slotDisk
	sparePorts = 2 // root ports for what is plugged in later
)

// tapFD is the file descriptor QEMU finds its TAP device under: the first after
// the standard ones.
const tapFD = 3

// Args returns QEMU's command line for a machine; code is the path of the UEFI
// firmware, "" for BIOS. It is a pure function, and holds no secrets: a command
// line is public.
func Args(p hypervisor.Place, s hypervisor.Spec, code string) []string {
	var a args
	a.add("-name", fmt.Sprintf("guest=%s,process=clade-%s", s.Name, s.Name))
	a.add("-nodefaults")
	a.add("-no-user-config")
	a.add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	a.machine(s, code)
	a.monitors(p)
	for i, disk := range s.Disks {
		a.disk(i, disk)
	}
	if s.Seed != "" {
		a.blockdev(object{"node-name": "seed", "driver": "raw", "read-only": true,
			"file": object{"driver": "file", "filename": s.Seed}})
		a.device("virtio-blk-pci", slotSeed, "id=seed", "drive=seed", "serial=seed")
	}
	if s.NIC != nil {
		a.nic(*s.NIC)
	}
	if s.Memory != nil && s.Memory.State != "" {
		a.add("-incoming", "defer")
	}
	a.channels(p)
	a.add("-object", "rng-builtin,id=rng0")
	a.device("virtio-rng-pci", slotRandom, "rng=rng0")
	for i := range sparePorts {
		a.add("-device", fmt.Sprintf("pcie-root-port,id=port%d,chassis=%d,addr=%#x.%d,multifunction=on", i, i+1, slotPorts, i))
	}
	return a
}

// args is a command line in the making.
type args []string

// object is a JSON object; it is written with its keys in order.
type object map[string]any

func (a *args) add(words ...string) { *a = append(*a, words...) }

func (a *args) device(driver string, slot int, properties ...string) {
	a.add("-device", fmt.Sprintf("%s,%s,addr=%#x", driver, strings.Join(properties, ","), slot))
}

// blockdev writes a block node as JSON, which needs no quoting of commas and
// leaves nothing to be probed.
func (a *args) blockdev(node object) {
	text, _ := json.Marshal(node) // strings, numbers and bools always marshal
	a.add("-blockdev", string(text))
}

func (a *args) machine(s hypervisor.Spec, code string) {
	machine, cpu, accel := "q35", "max", "tcg,thread=multi"
	if s.Machine != "" {
		machine = s.Machine
	}
	machine += ",vmport=off,dump-guest-core=off"
	if s.Accelerator == "kvm" {
		cpu, accel = "host", "kvm"
	}
	shared := s.Memory != nil && s.Memory.File != ""
	if shared && s.Memory.State != "" && accel != "kvm" {
		// What is translated of a guest is memory of its own, up to a gigabyte of it.
		accel += fmt.Sprintf(",tb-size=%d", min(max(s.Hardware.Memory/8, translated), 4*translated)/clade.MiB)
	}
	if shared {
		machine += ",memory-backend=" + memoryID
		a.memory(*s.Memory, s.Hardware.Memory)
	}
	if code != "" {
		machine += ",pflash0=firmware,pflash1=nvram"
		a.blockdev(object{"node-name": "firmware", "driver": "raw", "read-only": true,
			"file": object{"driver": "file", "filename": code}})
		a.blockdev(object{"node-name": "nvram", "driver": "raw",
			"file": object{"driver": "file", "filename": s.NVRAM}})
	}
	a.add("-machine", machine, "-accel", accel, "-cpu", cpu)
	a.add("-smp", strconv.Itoa(s.Hardware.CPUs))
	a.add("-m", fmt.Sprintf("size=%dk", s.Hardware.Memory/clade.KiB))
	a.add("-uuid", s.UUID)
	a.add("-smbios", "type=1,manufacturer=clade,product=machine,uuid="+s.UUID)
	a.add("-rtc", "base=utc,driftfix=slew")
	a.add("-device", "vmgenid,guid="+s.UUID)
	// A guest that suspends itself would be stuck: nothing wakes it.
	a.add("-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1")
	a.add("-boot", "strict=on")
	// No screen: a Debian guest under TCG spends a sixth more on its boot with one.
	a.add("-display", "none")
}

// translated is the least room for what is translated of an instant clone's programs.
const translated = 64 * clade.MiB

// memoryID is the name of a memory that is a file.
const memoryID = "ram"

// memory makes a file the guest's memory. What is resumed maps it privately: a page
// is the file's until the guest writes to it. No device of such a machine may give
// memory back (a balloon would): this QEMU would punch holes into the file of all.
func (a *args) memory(m hypervisor.Memory, size clade.Bytes) {
	share := "on"
	if m.State != "" {
		share = "off"
	}
	a.add("-object", fmt.Sprintf("memory-backend-file,id=%s,size=%dk,mem-path=%s,share=%s", memoryID, size/clade.KiB, quote(m.File), share))
}

// monitors are two sockets, and a log that QEMU keeps of its own events: a
// monitor on a "pipe" whose ends are plain files. It reads the handshake that
// Start put in one and writes every event to the other, so that why a machine
// ended is known although nobody watched.
func (a *args) monitors(p hypervisor.Place) {
	for _, m := range []struct{ id, socket string }{{"control", controlSocket}, {"status", statusSocket}} {
		a.socket(m.id, filepath.Join(p.Run, m.socket), "")
		a.add("-mon", "chardev="+m.id+",mode=control")
	}
	a.add("-chardev", "pipe,id=events,path="+quote(filepath.Join(p.Dir, eventsBase)))
	a.add("-mon", "chardev=events,mode=control")
}

func (a *args) socket(id, path, more string) {
	a.add("-chardev", "socket,id="+id+",path="+quote(path)+",server=on,wait=off"+more)
}

func (a *args) disk(slot int, d hypervisor.Disk) {
	name := diskName(slot)
	a.blockdev(qcow2Node(name, d.Path))
	a.device("virtio-blk-pci", slotDisk+slot, "id="+name, "drive="+name,
		"serial="+d.Serial, "bootindex="+strconv.Itoa(slot+1))
}

// qcow2Node is a block node that reads and writes the qcow2 file at path. What
// the guest discards, or fills with zeroes, takes no room in the file.
func qcow2Node(name, path string) object {
	return object{"node-name": name, "driver": "qcow2", "discard": "unmap", "detect-zeroes": "unmap",
		"file": object{"node-name": fileNode(name), "driver": "file", "filename": path, "discard": "unmap"}}
}

// diskName is the name of a disk's device, and of the block node it starts with.
func diskName(slot int) string { return "disk" + strconv.Itoa(slot) }

// fileNode is the name of the node below the qcow2 node.
func fileNode(node string) string { return node + "-file" }

// nic has no boot ROM: it would only cost time.
func (a *args) nic(n hypervisor.NIC) {
	if n.Bridge != "" {
		a.add("-netdev", fmt.Sprintf("tap,id=net0,fd=%d", tapFD))
	} else {
		a.add("-netdev", "stream,id=net0,server=on,addr.type=unix,addr.path="+quote(n.Socket))
	}
	a.device("virtio-net-pci", slotNIC, "id=nic0", "netdev=net0", "mac="+n.MAC, "romfile=")
}

// channels are the serial console and the guest agent's port.
func (a *args) channels(p hypervisor.Place) {
	a.socket("console", filepath.Join(p.Run, consoleSocket), ",logfile="+quote(filepath.Join(p.Dir, consoleLog)))
	a.add("-serial", "chardev:console")
	a.socket("agent", filepath.Join(p.Run, agentSocket), "")
	a.device("virtio-serial-pci", slotSerial, "id=serial0")
	a.add("-device", "virtserialport,bus=serial0.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0")
}

// quote protects the commas of a value in QEMU's key=value syntax.
func quote(value string) string { return strings.ReplaceAll(value, ",", ",,") }
