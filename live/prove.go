package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clade-vm/clade/generalize"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/rootfs"
)

// prove reads the guest again, in m, and sets what the report says of the proof:
// that no conflict and no secret has a value that it had, and that what was to be
// made anew is there.
func (w *work) prove(ctx context.Context, m *mirror, report *generalize.Report) error {
	report.Verified, report.Left, report.Time = false, nil, time.Now().UTC()
	m.want(hostnameFile, machineIDFile)
	found, err := readMarks(ctx, m, w.marks)
	if err != nil {
		return err
	}
	report.Left = w.same(report, found)
	if err := w.left(report.Left); err != nil {
		return err
	}
	if err := m.settle(ctx, func() error { return w.made(m) }); err != nil {
		return err
	}
	report.Verified = true
	return nil
}

// same returns what of found was there before, as the report says: by its value, or,
// where there is none to compare, by its place.
func (w *work) same(report *generalize.Report, found []identity.Finding) []identity.Finding {
	type had struct{ mark, value, path string }
	key := func(f identity.Finding) had {
		if f.Value != "" {
			return had{f.Mark, f.Value, ""}
		}
		return had{f.Mark, "", f.Path}
	}
	before := map[had]bool{}
	for _, step := range report.Marks {
		if step.Kind == identity.Residue {
			continue
		}
		for _, f := range step.Findings {
			before[key(f)] = !w.isNew(f.Value)
		}
	}
	var left []identity.Finding
	for _, f := range found {
		if before[key(f)] {
			left = append(left, f)
		}
	}
	return left
}

// isNew reports whether value is what the guest is to be called: it may have been
// called so before.
func (w *work) isNew(value string) bool {
	name := string(w.to.Hostname)
	return value != "" && (value == name || strings.HasPrefix(value, name+".") || value == w.to.InstanceID)
}

// left returns the error about marks that are what they were.
func (w *work) left(left []identity.Finding) error {
	if len(left) == 0 {
		return nil
	}
	text := fmt.Sprintf("mark %s is what it was, in /%s", left[0].Mark, left[0].Path)
	if n := len(left) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more are", n)
	}
	return unproven("%s", text)
}

// made returns an error that names what should have been made and is not there.
func (w *work) made(m *mirror) error {
	var wrong []error
	for name, want := range map[string]string{hostnameFile: string(w.to.Hostname), machineIDFile: w.machineID} {
		data, err := rootfs.ReadFile(m, name, 4096)
		if is := strings.TrimSpace(string(data)); want != "" && (err != nil || is != want) {
			wrong = append(wrong, unproven("/%s is %.60q, want %q", name, is, want))
		}
	}
	for _, mark := range w.pieces {
		files, _ := rootfs.Glob(m, strings.TrimPrefix(mark.Firstboot.Missing, "/"), 1)
		if len(files) == 0 {
			wrong = append(wrong, unproven("mark %s is not made anew", mark.Name))
		}
	}
	return errors.Join(wrong...)
}
