package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/clade-vm/clade/rootfs"
)

// What a cache answers from its listings is what the file system says, whatever
// links, files in place of directories and odd names there are.
func TestGlobAsRootfs(t *testing.T) {
	parts := []string{"a", "b", "ab", "a*", "*", "?b", "[ab]", `\a`, "c", "c*", ".h", "a b"}
	for seed := range 40 {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		tree := forest(t, r)
		c := newCache(tree)
		for range 300 {
			pattern := parts[r.IntN(len(parts))]
			for range r.IntN(4) {
				pattern += "/" + parts[r.IntN(len(parts))]
			}
			dir := "."
			if r.IntN(3) == 0 {
				dir = []string{"a", "b/a", "a*", "[ab]", "c"}[r.IntN(5)]
			}
			limit := []int{1, 3, 1000}[r.IntN(3)]
			got, gotErr := glob(c, dir, pattern, limit)
			want, wantErr := glob(tree, dir, pattern, limit)
			slices.Sort(want)
			more := errors.Is(wantErr, rootfs.ErrLimit) // of more than the limit any will do
			if !more && !slices.Equal(got, want) || len(got) != len(want) || (gotErr == nil) != (wantErr == nil) || more != errors.Is(gotErr, rootfs.ErrLimit) {
				t.Fatalf("seed %d: %q below %q, at most %d: %q, %v; want %q, %v", seed, pattern, dir, limit, got, gotErr, want, wantErr)
			}
		}
	}
}

// forest grows directories, files and links of few names, so that many meet.
func forest(t *testing.T, r *rand.Rand) *rootfs.Tree {
	t.Helper()
	dir := t.TempDir()
	names := []string{"a", "b", "ab", "c", "a*", "[ab]", ".h", "a b"}
	name := func() string {
		at := names[r.IntN(len(names))]
		for range r.IntN(3) {
			at = filepath.Join(at, names[r.IntN(len(names))])
		}
		return at
	}
	for range 60 {
		at := filepath.Join(dir, name())
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) || os.MkdirAll(filepath.Dir(at), 0o755) != nil {
			continue // taken, or below a file
		}
		var err error
		switch r.IntN(4) {
		case 0:
			err = os.WriteFile(at, nil, 0o644)
		case 1:
			err = os.Symlink(fmt.Sprintf("%s%s", []string{"", "/", "../"}[r.IntN(3)], name()), at)
		default:
			err = os.Mkdir(at, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}
