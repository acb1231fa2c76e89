package clade

import (
	"fmt"
	"regexp"
	"strings"
)

// A Name names a machine, a template or a network. It is a DNS label (RFC 1123):
// lower-case letters, digits and hyphens, 1 to 63 of them, beginning and ending
// with a letter or digit; so that a machine's name can be its hostname.
type Name string

var (
	nameForm    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	versionForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?$`)
)

// ParseName returns s as a Name, or an error of kind Invalid.
func ParseName(s string) (Name, error) {
	if nameForm.MatchString(s) {
		return Name(s), nil
	}
	return "", &Error{Op: "read", On: fmt.Sprintf("name %.80q", s), Kind: Invalid,
		Err:  fmt.Errorf("not a valid name"),
		Hint: "use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends"}
}

// A Ref names one version of a template: name:version. An empty Version, written
// as the name alone or as name:latest, means the newest one.
type Ref struct {
	Name    Name
	Version string
}

// ParseRef reads name, name:version or name:latest. Its error is of kind Invalid.
func ParseRef(s string) (Ref, error) {
	name, version, tagged := strings.Cut(s, ":")
	n, err := ParseName(name)
	if err != nil {
		return Ref{}, err
	}
	if version == "latest" || !tagged {
		return Ref{Name: n}, nil
	}
	if !versionForm.MatchString(version) {
		return Ref{}, &Error{Op: "read", On: fmt.Sprintf("template %.120q", s), Kind: Invalid,
			Err: fmt.Errorf("not a valid version"), Hint: "use name:version, such as debian-12:1"}
	}
	return Ref{Name: n, Version: version}, nil
}

// String returns name:version, with "latest" for no version.
func (r Ref) String() string {
	if r.Version == "" {
		return string(r.Name) + ":latest"
	}
	return string(r.Name) + ":" + r.Version
}

// MarshalText makes a Ref one string in JSON; the zero Ref is the empty string.
func (r Ref) MarshalText() ([]byte, error) {
	if r == (Ref{}) {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (r *Ref) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Ref{}
		return nil
	}
	got, err := ParseRef(string(text))
	if err == nil {
		*r = got
	}
	return err
}
