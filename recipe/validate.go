package recipe

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/clade-vm/clade"
)

// The limits of a recipe.
const (
	minSize     = 2 * clade.GiB // below this the packages do not fit
	maxSize     = 16 * clade.TiB
	maxPackages = 1000
	maxRun      = 100
	maxCommand  = 16 << 10
)

var (
	packageForm = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)
	userForm    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	kernelForm  = regexp.MustCompile(`^linux-image-[a-z0-9][a-z0-9+.-]*$`)
)

// Validate reports, with kind Invalid, the first field that a builder must not
// be given.
func (r *Recipe) Validate() error {
	field, err := r.check()
	if err == nil {
		return nil
	}
	return invalid(0, "%s: %w", field, err)
}

// check returns the name of the first bad field in the YAML, and what is bad.
func (r *Recipe) check() (string, error) {
	if _, err := clade.ParseName(string(r.Name)); err != nil {
		return "name", fmt.Errorf("%.80q is not a valid name", string(r.Name))
	}
	if r.Suite != "bookworm" && r.Suite != "trixie" {
		return "suite", fmt.Errorf("%.80q is neither bookworm nor trixie", r.Suite)
	}
	if err := checkMirror(r.Mirror); err != nil {
		return "mirror", err
	}
	if r.Size < minSize || r.Size > maxSize {
		return "size", fmt.Errorf("%v is not between %v and %v", r.Size, minSize, maxSize)
	}
	if !userForm.MatchString(r.User) || r.User == "root" {
		return "user", fmt.Errorf("%.80q is not a valid name for an ordinary user", r.User)
	}
	if !kernelForm.MatchString(r.Kernel) || len(r.Kernel) > 128 {
		return "kernel", fmt.Errorf("%.80q is not the name of a kernel's package", r.Kernel)
	}
	if err := checkBoot(r.Boot); err != nil {
		return "boot", err
	}
	if err := checkPackages(r.Packages); err != nil {
		return "packages", err
	}
	return "run", checkRun(r.Run)
}

func checkMirror(mirror string) error {
	if mirror == "" {
		return nil
	}
	u, err := url.Parse(mirror)
	odd := func(c rune) bool { return c <= ' ' || c > unicode.MaxASCII || strings.ContainsRune(`"'[]\#`, c) }
	switch {
	case err != nil || strings.ContainsFunc(mirror, odd):
		return fmt.Errorf("%.200q is not a URL", mirror)
	case u.User != nil:
		return fmt.Errorf("a user and password do not belong into a recipe")
	case u.Scheme == "file" && u.Host == "" && u.Path != "":
		return nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return nil
	}
	return fmt.Errorf("%.200q is not an http, https or file URL", mirror)
}

func checkBoot(boot []string) error {
	if len(boot) == 0 || len(boot) > 2 || (len(boot) == 2 && boot[0] == boot[1]) {
		return fmt.Errorf("say bios, uefi or both, each once")
	}
	for _, way := range boot {
		if way != BIOS && way != UEFI {
			return fmt.Errorf("%.80q is neither bios nor uefi", way)
		}
	}
	return nil
}

func checkPackages(names []string) error {
	if len(names) > maxPackages {
		return fmt.Errorf("more than %d packages", maxPackages)
	}
	for _, name := range names {
		if !packageForm.MatchString(name) {
			return fmt.Errorf("%.80q is not the name of a package", name)
		}
	}
	return nil
}

func checkRun(commands []string) error {
	if len(commands) > maxRun {
		return fmt.Errorf("more than %d commands", maxRun)
	}
	for i, command := range commands {
		if strings.TrimSpace(command) == "" || len(command) > maxCommand || strings.ContainsRune(command, 0) {
			return fmt.Errorf("command %d is empty, has a zero byte or more than %d bytes", i+1, maxCommand)
		}
	}
	return nil
}
