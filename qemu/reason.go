package qemu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/clade-vm/clade/hypervisor"
	"github.com/clade-vm/clade/qmp"
)

// killEvent is written to the events by clade itself, where QEMU had no chance to.
const killEvent = "CLADE_KILL"

// endReason says why the machine ended, from what QEMU left behind.
func endReason(p hypervisor.Place) string {
	path := filepath.Join(p.Dir, eventsOut)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "it did not start"
	}
	log := filepath.Join(p.Dir, qemuLog)
	panicked := false
	reason := ""
	for line := range bytes.Lines(tail(path, maxTail)) {
		e, is := qmp.ParseEvent(line)
		if !is {
			continue
		}
		switch e.Name {
		case "SHUTDOWN":
			reason = shutdownReason(e.Data, log)
		case "GUEST_PANICKED":
			panicked = true
		case killEvent:
			reason = "killed by clade"
		}
	}
	switch {
	case panicked:
		return "the guest panicked"
	case reason != "":
		return reason
	}
	if said := complain(tail(log, maxTail)); said != "" {
		return "QEMU crashed: " + said
	}
	return "QEMU was killed or crashed"
}

var signalForm = regexp.MustCompile(`terminating on signal (\d{1,3}) from pid (\d{1,10})`)

// shutdownReason puts QEMU's SHUTDOWN event into words.
func shutdownReason(data json.RawMessage, log string) string {
	var d struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return ""
	}
	switch {
	case d.Reason == "host-qmp-quit":
		return "killed by clade"
	case d.Reason == "host-signal":
		if m := signalForm.FindSubmatch(tail(log, maxTail)); m != nil {
			return fmt.Sprintf("ended by signal %s from process %s", m[1], m[2])
		}
		return "ended by a signal"
	case d.Reason == "guest-panic":
		return "the guest panicked"
	case d.Guest:
		return "guest powered off"
	}
	return fmt.Sprintf("QEMU ended: %.40q", d.Reason)
}

// noteKill leaves the event of a kill that QEMU could not write itself.
func noteKill(p hypervisor.Place) error {
	f, err := os.OpenFile(filepath.Join(p.Dir, eventsOut), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "\n{\"event\": %q, \"timestamp\": {\"seconds\": %d, \"microseconds\": 0}}\n", killEvent, time.Now().Unix())
	return errors.Join(err, f.Close())
}
