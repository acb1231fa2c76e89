package appliance

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
)

// A complaint is what QEMU says about one of the disks.
type complaint struct {
	disk int
	text string
}

func (c *complaint) Error() string { return c.text }

// aboutDisk finds, in what QEMU says, the argument that it repeats and could not
// follow: a node of a disk or its device.
var aboutDisk = regexp.MustCompile(`(?s)-(?:blockdev \{.*"node-name":"|device [a-z-]+,.*drive=)d(\d+)\b.*?(?:\}|serial=clade-\d+): (.*)`)

// qemuError sorts what QEMU says when it cannot start.
func qemuError(text string) error {
	err := errors.New(text)
	if m := aboutDisk.FindStringSubmatch(text); m != nil {
		if disk, nerr := strconv.Atoi(m[1]); nerr == nil {
			text = m[2] // the argument itself has words that would mislead
			err = &complaint{disk: disk, text: text}
		}
	}
	kind, hint := clade.Internal, ""
	switch {
	case strings.Contains(text, "Failed to get") && strings.Contains(text, "lock"):
		kind, hint = clade.InUse, "stop the machine that uses the disk"
	case strings.Contains(text, "Permission denied"):
		kind = clade.Denied
	case strings.Contains(strings.ToLower(text), "kvm"):
		kind, hint = clade.Missing, "use the accelerator tcg"
	case strings.Contains(text, "Unsupported qcow2"):
		kind, hint = clade.Unsupported, "convert the file with the QEMU that made it: qemu-img convert -O qcow2 FILE NEW"
	case strings.Contains(text, "Could not open"), strings.Contains(text, "corrupt"), strings.Contains(text, "qcow2"),
		strings.Contains(text, "L1 table"), strings.Contains(text, "cluster"):
		kind, hint = clade.Corrupt, "examine the file: qemu-img check FILE"
	}
	return &clade.Error{Kind: kind, Err: err, Hint: hint}
}
