//go:build integration

package qemu_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/clade-vm/clade/hypervisor"
)

// countguest is a boot sector that counts, and writes each number to the second
// sector of its first disk, and then to that of its second one, for ever:
//
//	        xorw %ax, %ax; movw %ax, %ds; movw %ax, %es; movw %ax, %ss
//	        movw $0x7c00, %sp
//	        movb $1, %al; movw $0x3f8, %dx; outb %al, %dx
//	        movl $0, 0x7e00
//	again:  incl 0x7e00; movb $0x80, %dl
//	next:   movw $0x0301, %ax; movw $2, %cx; xorb %dh, %dh; movw $0x7e00, %bx
//	        pushw %dx; int $0x13; popw %dx; jc bad
//	        incb %dl; cmpb $0x82, %dl; jne next; jmp again
//	bad:    movb $'E', %al; movw $0x3f8, %dx; outb %al, %dx
//	halt:   jmp halt
const countguest = "31c08ed88ec08ed0bc007cb001baf803ee66c706007e0000000066ff06007eb2" +
	"80b80103b9020030f6bb007e52cd135a7209fec280fa8275e8ebdfb045baf803" +
	"eeebfe"

// numbers returns what the guest wrote last to each disk.
func numbers(t *testing.T, files []string) (both [2]uint32) {
	t.Helper()
	for i, file := range files {
		raw := filepath.Join(t.TempDir(), "raw")
		run(t, "qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", file, raw)
		data, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = binary.LittleEndian.Uint32(data[512:])
	}
	return both
}

// TestDisksAreFrozenTogether freezes two disks under a guest that writes each
// number to the first one and then to the second: whenever it happens, the second
// has the number of the first, or the one before.
func TestDisksAreFrozenTogether(t *testing.T) {
	d, p, s := startOf(t, countguest)
	said(t, p, 1)
	now := []string{s.Disks[0].Path, s.Disks[1].Path}
	var last uint32
	moved := 0
	for range 100 {
		var heads []string
		for _, below := range now {
			head := filepath.Join(t.TempDir(), "head.qcow2")
			overlay(t, head, below)
			heads = append(heads, head)
		}
		pause, err := d.Switch(t.Context(), p, heads)
		if err != nil {
			t.Fatal(err)
		}
		both := numbers(t, now)
		if ahead := both[0] - both[1]; ahead > 1 {
			t.Errorf("freeze %d, of %v: the disks hold %d and %d", moved, pause.Length, both[0], both[1])
		}
		if both[0] < last {
			t.Errorf("freeze %d: the guest had written %d, and now %d", moved, last, both[0])
		}
		if both[0] > last {
			moved++
		}
		if now, last = heads, both[0]; moved == 12 {
			break
		}
	}
	if moved < 12 {
		t.Errorf("the guest wrote between %d freezes only", moved)
	}
	if err := d.Kill(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if both := numbers(t, now); both[0]-both[1] > 1 || both[0] < last {
		t.Errorf("at the end the disks hold %v, after %d", both, last)
	}
}

// said waits until the guest has said something on its console.
func said(t *testing.T, p hypervisor.Place, something byte) {
	t.Helper()
	for range 1000 {
		if log, _ := os.ReadFile(filepath.Join(p.Dir, "console.log")); bytes.IndexByte(log, something) >= 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the guest says nothing")
}
