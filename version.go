package clade

// Version is which clade this is, as attestations and clade version say it. The
// linker sets it: go build -ldflags "-X github.com/clade-vm/clade.Version=1.2.3".
var Version = "devel"
