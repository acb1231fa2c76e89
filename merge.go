package clade

// A RebaseSpec asks for the move of a linked clone to a template.
type RebaseSpec struct {
	Machine   Name
	To        Ref
	Keep      bool // carry over what the clone changed; else it is left behind
	Conflicts Side // whose files are taken that both changed; empty: refuse
	DryRun    bool // with Keep: only say what would be carried over, and change nothing
}

// A Side is one of the two that changed files: the clone, or its template between
// the version that it was made on and the new one.
type Side string

// The sides.
const (
	CloneSide    Side = "clone"
	TemplateSide Side = "template"
	BothSides    Side = "both" // merged: of files whose lines are known
)

// A Rebase says what a rebase did, or would do.
type Rebase struct {
	Machine Name   `json:"machine"`
	From    string `json:"from"` // what it was a clone of: "template debian-12:1"
	To      string `json:"to"`
	Done    bool   `json:"done"`            // it rests on To now
	Merge   *Merge `json:"merge,omitempty"` // of a rebase that keeps changes
}

// A Merge compares three trees of files: what a clone was made on, the clone, and
// the new version of its template. Lists are bounded; totals count all. Paths are
// absolute in the guest; one that is not plain text is quoted.
type Merge struct {
	System    string     `json:"system"`    // as the clone's guest calls itself
	Clone     Changes    `json:"clone"`     // what the clone changed
	Template  Changes    `json:"template"`  // what the new version changed
	Conflicts []Conflict `json:"conflicts"` // what both changed, differently
	Conflict  int        `json:"conflict"`  // how many
	Settled   []Settled  `json:"settled"`   // what both changed and a rule decides
	Settle    int        `json:"settle"`    // how many
	Carried   int        `json:"carried"`   // files, directories and links that are written or removed
	Bytes     Bytes      `json:"bytes"`     // of content that is written
	Took      Side       `json:"took,omitempty"`
	Notes     []string   `json:"notes,omitempty"`
}

// Open reports whether there are conflicts that nobody has decided.
func (m *Merge) Open() bool { return m.Conflict > 0 && m.Took == "" }

// Changes are the differences of one tree from another.
type Changes struct {
	Added   []string `json:"added"`
	Changed []string `json:"changed"`
	Removed []string `json:"removed"`
	Adds    int      `json:"adds"` // how many, all below a new directory counted
	Changes int      `json:"changes"`
	Removes int      `json:"removes"`
}

// A Conflict is a file or directory that both sides changed, and not alike.
type Conflict struct {
	Path     string `json:"path"`
	Clone    string `json:"clone"`         // "added", "changed" or "removed"
	Template string `json:"template"`      // likewise
	Why      string `json:"why,omitempty"` // why it cannot be merged
}

// A Settled conflict is decided by a rule: identity and logs are the clone's,
// caches are the template's.
type Settled struct {
	Path string `json:"path"`
	Side Side   `json:"side"`
	Why  string `json:"why"`
}
