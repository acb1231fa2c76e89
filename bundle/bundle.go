// Package bundle carries templates and machines from one home to another, layer
// by layer: as one file, and as the manifest and layers that package oci stores
// in registries.
//
// A bundle is a tar archive. Its first member, manifest.json, says what it holds
// (Manifest). Then come the layers in the manifest's order, parents first, each
// in pieces of at most 4 MiB that are zstd frames of their own: so a bundle is
// written to a pipe without knowing how small a layer becomes, several cores
// pack it, what is not needed is skipped by seeking, and tar, cat and zstd get a
// layer out again where there is no clade.
//
// Layers keep their ids, which are random, and so no byte of them changes on the
// way: the name of the parent in a layer's header is right in every home, and the
// digest that was taken when the layer was sealed proves it wherever it goes. An
// id that a home has for another layer is refused (Layer.Is).
//
// Writing, the caller fills a Manifest (OfTemplate, OfMachine, AddDisk) and calls
// Write. Reading is Open, a look at what is there, and Reader.Unpack, which asks
// the caller's Target which layers it has and where the others go. A layer counts
// only when its length, its digest and its header have been proven: it names its
// parent of the manifest and no other file. What arrived before a failure is the
// caller's to keep and to have the next time.
//
// A bundle is hostile input: no name in it becomes a path, everything is
// bounded before it is read, and a layer by what its manifest says. What is
// proven is that a bundle is whole, not who made it: an attestation in it is
// worth as much as its maker.
//
// The package starts no process and opens no network; it syncs nothing to the
// disk, and leaves to the caller what a home is, what is locked and what recorded.
package bundle

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/clade-vm/clade"
)

// Format is the version of the manifest that is written, and the one that is read.
const Format = 1

// The limits of what is read.
const (
	MaxManifest = 8 * clade.MiB // the manifest, as JSON
	MaxLayers   = 4096          // layers of all disks
	MaxDepth    = 256           // layers of one disk
	MaxDisks    = 64

	maxAttestation = 1 << 20
	maxText        = 512
	pieceSize      = 4 << 20          // of a layer that are packed as one
	maxPacked      = pieceSize + 4096 // a piece that did not become smaller
	maxWindow      = 16 << 20         // of a zstd frame: what a stranger's may ask for in memory
)

// Backing returns the name by which a layer or a head refers to the layer it
// rests on: relative, from layers/<id> or machines/<id> of any home. It is part
// of the format. It is empty for no parent.
func Backing(parent string) string {
	if parent == "" {
		return ""
	}
	return "../../layers/" + parent + "/layer.qcow2"
}

// refusal is an error about what a file or manifest is.
func refusal(kind clade.Kind, format string, args ...any) error {
	return &clade.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// fault gives an error of the operating system its kind. An error that has one
// keeps it.
func fault(err error) error {
	if _, ok := errors.AsType[*clade.Error](err); ok || err == nil {
		return err
	}
	kind := clade.KindOf(err)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // callers name the file as the user did
	}
	return &clade.Error{Kind: kind, Err: err}
}

// about says what was done to what when err happened.
func about(op, on string, err error) error {
	if err == nil {
		return nil
	}
	err = fault(err)
	return &clade.Error{Op: op, On: on, Kind: clade.KindOf(err), Err: err}
}
