// Package oci stores templates in registries for container images, as OCI
// artifacts, and fetches them from there.
//
// One version of a template is one artifact with one tag. Its config is the
// manifest of package bundle as JSON; its blobs are the layers of that manifest,
// in the same order, each the zstd stream of a bundle's pieces. So a layer that
// several versions rest on is one blob, and pushing or pulling the next version
// moves only its delta: Push asks the registry what it has, Artifact.Unpack asks
// the caller's bundle.Target. An interrupted transfer goes on with the first
// blob that is not there; within a blob a pull goes on where the registry
// serves parts of blobs.
//
// The protocol is oras-go's. It proves the digests of what goes over the
// network; package bundle then proves each layer, and that it names no file but
// its parent, whatever a registry says. Credentials are those of the docker
// configuration (~/.docker/config.json or $DOCKER_CONFIG, helper programs
// included), go to the registry they are for, over TLS, and stand in no error.
// Plain HTTP is spoken with registries on loopback, and where Options say so.
//
// A registry proves nothing about who made a template. Nothing is synced to the
// disk; what is locked, placed and recorded is the caller's.
package oci

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/clade-vm/clade"
)

// The media types of what is stored, and the annotation by which a push finds
// the blob of a layer among the versions that are there.
const (
	ArtifactType = "application/vnd.clade.template.v1"
	ConfigType   = "application/vnd.clade.template.manifest.v1+json"
	LayerType    = "application/vnd.clade.layer.v1.qcow2+zstd"

	layerDigest = "vnd.clade.layer.digest"
)

// Options say how a registry is spoken to.
type Options struct {
	PlainHTTP bool   // without TLS, although it is not on loopback
	Temp      string // Push: the folder for a packed layer; it leaves no name there

	retries retry.Policy  // tests are less patient
	stall   time.Duration // so long may a transfer stand still; 0: a minute
}

// parse reads REGISTRY/NAME:VERSION.
func parse(s string) (registry.Reference, error) {
	ref, err := registry.ParseReference(s)
	if err != nil {
		return ref, &clade.Error{Kind: clade.Invalid, Err: fmt.Errorf("%.200q is no name in a registry", s),
			Hint: "use REGISTRY/NAME:VERSION, such as registry.example.org/vms/debian-12:3"}
	}
	return ref, nil
}

// loopback says whether host, with or without a port, is this computer.
func loopback(host string) bool {
	if name, _, found := strings.Cut(host, ":"); found && !strings.HasPrefix(host, "[") {
		host = name
	}
	if inside, _, found := strings.Cut(strings.TrimPrefix(host, "["), "]"); found {
		host = inside
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
