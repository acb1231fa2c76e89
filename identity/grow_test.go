package identity_test

import (
	"testing"

	"github.com/clade-vm/clade/identity/identitytest"
	"github.com/clade-vm/clade/rootfs"
)

const id = identitytest.MachineID

// grow puts files, in the notation of plants, into the directory dir.
func grow(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	if err := identitytest.Grow(dir, identitytest.Plant{Files: files}); err != nil {
		t.Fatal(err)
	}
}

func openTree(t testing.TB, dir string) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// read returns what lies at name below dir, as identitytest.Look tells it.
func read(t testing.TB, dir, name string) string {
	t.Helper()
	got, err := identitytest.Look(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// left returns the files below dir that still hold something planted.
func left(t testing.TB, dir string) []string {
	t.Helper()
	names, err := identitytest.Left(dir)
	if err != nil {
		t.Fatal(err)
	}
	return names
}
