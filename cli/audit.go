package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

func (a *app) auditVerb() *cobra.Command {
	var spec clade.AuditSpec
	var all bool
	cmd := &cobra.Command{
		Use:   "audit [NAME... | --all | --image FILE...]",
		Short: "Find what machines share and must not",
		Long: `Audit reads the marks of machines (machine-ids, host keys, leases, agents' ids and
many more) and says which of them have the same: stopped ones by their disks, all in
one boot of the appliance, running ones through their guest agent. It writes nothing.
Of stopped ones it also says how many marks of residue they have, traces of their own
past that must not travel in a template; --json names them.
One name is compared with all other machines; none is the same as --all.

With --image it reads image files that need not be clade's, such as those of Proxmox or
libvirt, without importing them; --backing believes them about the files they rest on.

It ends with status 3 if machines share what they must not. clade mend gives one of
them an identity of its own.`,
		Example: `  clade audit
  clade audit web-1 web-2 --json
  clade audit --image /var/lib/libvirt/images/*.qcow2`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeMachines,
	}
	flags := cmd.Flags()
	flags.BoolVar(&all, "all", false, "all machines (default)")
	flags.StringArrayVar(&spec.Images, "image", nil, "an image file, qcow2 or raw; can be given again, or followed by more files")
	flags.BoolVar(&spec.Backing, "backing", false, "images may rest on the files that they name")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		switch {
		case len(spec.Images) > 0:
			spec.Images = append(spec.Images, args...) // --image *.qcow2
		case all && len(args) > 0:
			return usage(cmd, "give either names or --all")
		default:
			if spec.Machines, err = parseNames(args); err != nil {
				return err
			}
		}
		s, err := a.open(cmd.Context())
		if err != nil {
			return err
		}
		result, err := s.Audit(cmd.Context(), spec, a.progress())
		if err != nil {
			return err
		}
		return a.printAudit(result, *asJSON)
	}
	return cmd
}

// printAudit shows what is shared, the worst first. The status is 3 where it must
// not be, and 1 where somebody could not be read.
func (a *app) printAudit(result *clade.Audit, asJSON bool) error {
	var err error
	if asJSON {
		err = a.printJSON(result)
	} else {
		err = a.printShared(result.Shared)
	}
	if err != nil {
		return err
	}
	severe, unread := false, 0
	for _, s := range result.Shared {
		severe = severe || s.Severe
	}
	for _, r := range result.Read {
		for _, note := range r.Notes {
			a.say("note: %s: %s", r.Name, note)
		}
		if r.Error != "" {
			unread++
			a.say("%s could not be read: %s", r.Name, r.Error)
		}
	}
	a.sayResidue(result.Read)
	a.say("%d read, %d not; %d values are shared", len(result.Read)-unread, unread, len(result.Shared))
	switch {
	case severe:
		return exitStatus(statusCheck)
	case unread > 0:
		return exitStatus(statusError)
	}
	return nil
}

// fewNames is how many machines are named in one line.
const fewNames = 8

// sayResidue says who has residue: each of a few, or how many have.
func (a *app) sayResidue(read []clade.AuditRead) {
	var has []string
	for _, r := range read {
		if len(r.Residue) > 0 {
			has = append(has, fmt.Sprintf("%s %d", r.Name, len(r.Residue)))
		}
	}
	switch {
	case len(has) > fewNames:
		a.say("%d of them have marks of residue (--json names them); clade generalize erases those that are on by default", len(has))
	case len(has) > 0:
		a.say("marks of residue: %s; clade generalize erases those that are on by default", strings.Join(has, ", "))
	}
}

func (a *app) printShared(shared []clade.Shared) error {
	if len(shared) == 0 {
		return nil
	}
	t := &table{}
	t.row("MARK", "KIND", "VALUE", "SHARED BY", "MUST DIFFER")
	for _, s := range shared {
		t.row(s.Mark, s.Kind, short(s.Value), someNames(s.Machines), yes(s.Severe))
	}
	if err := a.printTable(t); err != nil {
		return err
	}
	said := map[string]bool{}
	if shared[0].Severe {
		if err := a.print(""); err != nil {
			return err
		}
	}
	for _, s := range shared {
		if s.Severe && !said[s.Mark] {
			said[s.Mark] = true
			if err := a.print("%s: %s; %s", s.Mark, s.Why, s.Mend); err != nil {
				return err
			}
		}
	}
	return nil
}

// short cuts a long value, such as a fingerprint.
func short(value string) string {
	const most = 40
	if r := []rune(value); len(r) > most {
		return string(r[:most]) + "…"
	}
	return value
}

// someNames lists the first names of many.
func someNames(names []string) string {
	const most = 4
	if len(names) > most {
		return strings.Join(names[:most], " ") + " and " + strconv.Itoa(len(names)-most) + " more"
	}
	return strings.Join(names, " ")
}
