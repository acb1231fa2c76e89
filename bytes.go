package clade

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size in bytes. In flags and recipes it is written with a binary
// unit (512M, 10G, 1.5GiB); in JSON it is a plain number.
type Bytes int64

// The binary units.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

var units = []struct {
	name string
	size Bytes
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// String returns the size with three significant digits and a binary unit.
func (b Bytes) String() string {
	for _, u := range units {
		if b < u.size && -b < u.size {
			continue
		}
		f := float64(b) / float64(u.size)
		decimals := 2
		if math.Abs(f) >= 100 {
			decimals = 0
		} else if math.Abs(f) >= 10 {
			decimals = 1
		}
		return strconv.FormatFloat(f, 'f', decimals, 64) + " " + u.name
	}
	return strconv.FormatInt(int64(b), 10) + " B"
}

// Flag returns the size as a command line takes it: exact, in one word.
func (b Bytes) Flag() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name[:1]
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// ParseBytes reads a size: digits, an optional fraction, an optional unit
// K, M, G or T (also KiB, KB: both are binary here). Its error is of kind Invalid.
func ParseBytes(s string) (Bytes, error) {
	bad := func() (Bytes, error) {
		return 0, &Error{Op: "read", On: fmt.Sprintf("size %q", s), Kind: Invalid,
			Err: fmt.Errorf("not a size"), Hint: "write sizes like 512M, 10G or 1.5G"}
	}
	number := strings.TrimSpace(strings.ToUpper(s))
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	unit := Bytes(1)
	if n := len(number); n > 0 {
		switch number[n-1] {
		case 'K':
			unit = KiB
		case 'M':
			unit = MiB
		case 'G':
			unit = GiB
		case 'T':
			unit = TiB
		}
		if unit != 1 {
			number = strings.TrimSpace(number[:n-1])
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f*float64(unit) >= math.MaxInt64 {
		return bad()
	}
	return Bytes(math.Round(f * float64(unit))), nil
}

// Set makes Bytes a command-line flag.
func (b *Bytes) Set(s string) error {
	v, err := ParseBytes(s)
	if err == nil {
		*b = v
	}
	return err
}

// Type names the flag's value in help texts.
func (b *Bytes) Type() string { return "size" }

// UnmarshalJSON accepts a number of bytes or a string with a unit.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		return b.Set(s)
	}
	var n int64
	if err := json.Unmarshal(data, &n); err != nil {
		return err
	}
	*b = Bytes(n)
	return nil
}
