// Package recipe is the YAML that says how a golden master is built: which
// Debian suite, which packages, how large a disk, which user.
//
// A recipe is pure data. Parse and Builtin return only recipes whose every field
// is proven to be harmless on a command line and in a guest's configuration;
// Digest names what would be built, so that a built disk can be kept and found
// again. The package builds nothing: that is the work of package debian.
package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/clade-vm/clade"
)

// Format is the version of what the builder makes of a recipe. It is raised with
// every change of the builder that changes the disk, so that a disk kept from
// before is not taken for the new one.
const Format = 1

// The ways a built disk can boot.
const (
	BIOS = "bios" // a boot sector and a BIOS boot partition
	UEFI = "uefi" // an EFI system partition, with Secure Boot's signed loaders
)

// A Recipe says how a golden master is built. Parse and Builtin make one that is
// valid; one made otherwise is checked with Validate.
type Recipe struct {
	Name     clade.Name  `yaml:"name" json:"name"`
	Suite    string      `yaml:"suite" json:"suite"`                 // bookworm or trixie
	Mirror   string      `yaml:"mirror" json:"mirror,omitempty"`     // where packages come from; empty: the suite's own
	Size     clade.Bytes `yaml:"size" json:"size"`                   // of the disk; 0: 10 GiB
	User     string      `yaml:"user" json:"user"`                   // may use sudo; empty: debian
	Kernel   string      `yaml:"kernel" json:"kernel"`               // its package; empty: the cloud kernel
	Boot     []string    `yaml:"boot" json:"boot"`                   // BIOS, UEFI or both; empty: both
	Packages []string    `yaml:"packages" json:"packages,omitempty"` // added to those that clade needs
	Run      []string    `yaml:"run" json:"run,omitempty"`           // shell commands, run as root in the new system
}

// Digest returns the SHA-256, in hexadecimal, of what the recipe asks for and of
// Format. Two recipes with one digest build the same system; comments, the order
// of fields and of packages, and defaults spelled out make no difference.
func (r *Recipe) Digest() string {
	c := *r
	c.fill()
	c.Packages = slices.Clone(c.Packages)
	slices.Sort(c.Packages)
	c.Packages = slices.Compact(c.Packages)
	c.Boot = slices.Clone(c.Boot)
	slices.Sort(c.Boot)
	text, err := json.Marshal(struct {
		Format int
		Recipe *Recipe
	}{Format, &c})
	if err != nil {
		panic("recipe: " + err.Error()) // strings and numbers can always be written
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Boots reports whether the built disk is to boot by way, BIOS or UEFI.
func (r *Recipe) Boots(way string) bool { return slices.Contains(r.Boot, way) }

// fill sets what was left out to its default.
func (r *Recipe) fill() {
	if r.Size == 0 {
		r.Size = 10 * clade.GiB
	}
	if r.User == "" {
		r.User = "debian"
	}
	if r.Kernel == "" {
		r.Kernel = "linux-image-cloud-amd64"
	}
	if len(r.Boot) == 0 {
		r.Boot = []string{BIOS, UEFI}
	}
}
