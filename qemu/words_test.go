package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/hypervisor"
)

// What QEMU 7.2 says at a start that fails, and what it means.
func TestStartFailure(t *testing.T) {
	for said, want := range map[string]struct {
		kind clade.Kind
		text string
	}{
		`qemu-system-x86_64: -blockdev {"driver":"qcow2","file":{"driver":"file","filename":"/a b/c"},"node-name":"disk0"}: Failed to get "write" lock` + "\nIs another process using the image [/a b/c]?\n": {
			clade.Busy, `Failed to get "write" lock; Is another process using the image [/a b/c]?`},
		"Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: failed to initialize kvm: Permission denied\n": {
			clade.Unsupported, "failed to initialize kvm: Permission denied"},
		"qemu-system-x86_64: -accel kvm: invalid accelerator kvm\n":                                                           {clade.Unsupported, "invalid accelerator kvm"},
		"qemu-system-x86_64: warning: old\nqemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory\n": {clade.NoSpace, "cannot set up guest memory 'pc.ram': Cannot allocate memory"},
		`qemu-system-x86_64: -blockdev {"driver":"raw"}: Could not open '/x': No such file or directory`:                      {clade.NotFound, "Could not open '/x': No such file or directory"},
		`qemu-system-x86_64: -blockdev {"driver":"raw"}: Could not open '/x': Permission denied`:                              {clade.Denied, "Could not open '/x': Permission denied"},
		"": {clade.Internal, "it ended without a word"},
		"\x1b[31mqemu-kvm: " + strings.Repeat("é", 1000): {clade.Internal, ""},
	} {
		p := hypervisor.Place{Dir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(p.Dir, qemuLog), []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
		err := startFailure(p)
		text := strings.TrimPrefix(err.Error(), "run QEMU: ")
		if clade.KindOf(err) != want.kind || want.text != "" && text != want.text {
			t.Errorf("%q\nis %v: %s\nwant %v: %s", said, clade.KindOf(err), text, want.kind, want.text)
		}
		if len(text) > maxComplaint+3 || strings.ContainsRune(text, '\x1b') {
			t.Errorf("%q is quoted as %q", said, text)
		}
	}
}

func TestEndReason(t *testing.T) {
	const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}}}` + "\n" + `{"return": {}}` + "\n"
	shutdown := func(guest, reason string) string {
		return `{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": ` + guest + `, "reason": "` + reason + `"}}` + "\n"
	}
	reset := strings.Repeat(`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}`+"\n", 2000)
	for want, said := range map[string]struct{ events, log string }{
		"guest powered off":                         {greeting + reset + shutdown("true", "guest-shutdown"), ""},
		"killed by clade":                           {greeting + shutdown("false", "host-qmp-quit"), ""},
		"ended by signal 15 from process 20286":     {greeting + shutdown("false", "host-signal"), "qemu-system-x86_64: terminating on signal 15 from pid 20286 (bash)\n"},
		"ended by a signal":                         {greeting + shutdown("false", "host-signal"), ""},
		"the guest panicked":                        {greeting + `{"event": "GUEST_PANICKED"}` + "\n" + shutdown("true", "guest-panic"), ""},
		"QEMU was killed or crashed":                {greeting + reset, ""},
		"QEMU crashed: kvm_init: Assertion failed.": {greeting, "qemu-system-x86_64: kvm_init: Assertion failed.\n"},
		`QEMU ended: "host-ui"`:                     {shutdown("false", "host-ui") + `{"event": "SHUTD`, ""},
	} {
		p := hypervisor.Place{Dir: t.TempDir()}
		for name, text := range map[string]string{eventsOut: said.events, qemuLog: said.log} {
			if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := endReason(p); got != want {
			t.Errorf("reason = %q, want %q", got, want)
		}
		if err := noteKill(p); err != nil {
			t.Fatal(err)
		}
		if got := endReason(p); want != "the guest panicked" && got != "killed by clade" {
			t.Errorf("reason after a kill = %q", got)
		}
	}
	if got := endReason(hypervisor.Place{Dir: t.TempDir()}); got != "it did not start" {
		t.Errorf("reason without events = %q", got)
	}
}

func TestNextNode(t *testing.T) {
	for node, want := range map[string]string{"disk3": "disk3.1", "disk3.1": "disk3.2", "disk3.99": "disk3.100"} {
		if got := nextNode(3, node); got != want {
			t.Errorf("nextNode(%q) = %q, want %q", node, got, want)
		}
	}
}
