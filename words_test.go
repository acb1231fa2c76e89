package clade_test

import (
	"encoding/json"
	"testing"

	"github.com/clade-vm/clade"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]clade.Bytes{
		"0": 0, "512": 512, "512M": 512 << 20, "10G": 10 << 30, "1.5GiB": 3 << 29, "2kb": 2048, " 1T ": 1 << 40,
	} {
		if got, err := clade.ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1G", "1X", "1e400", "NaN", "9000000000T", "1 2"} {
		if got, err := clade.ParseBytes(text); clade.KindOf(err) != clade.Invalid {
			t.Errorf("ParseBytes(%q) = %d, %v; want kind %q", text, got, err, clade.Invalid)
		}
	}
}

func TestBytesText(t *testing.T) {
	for want, b := range map[string]clade.Bytes{
		"0 B": 0, "1023 B": 1023, "1.00 KiB": 1024, "12.0 KiB": 12 << 10, "512 MiB": 512 << 20, "1.50 GiB": 3 << 29,
	} {
		if got := b.String(); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", int64(b), got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "web-1", "0", "a23456789012345678901234567890123456789012345678901234567890123"} {
		if _, err := clade.ParseName(good); err != nil {
			t.Errorf("ParseName(%q) = %v", good, err)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "A", "a_b", "a.b", "a/b", "ä", "a b", "a\n",
		"a234567890123456789012345678901234567890123456789012345678901234"} {
		if _, err := clade.ParseName(bad); clade.KindOf(err) != clade.Invalid {
			t.Errorf("ParseName(%q) = %v, want kind %q", bad, err, clade.Invalid)
		}
	}
}

func TestRefs(t *testing.T) {
	for text, want := range map[string]clade.Ref{
		"debian-12": {Name: "debian-12"}, "debian-12:latest": {Name: "debian-12"}, "debian-12:1": {Name: "debian-12", Version: "1"},
		"x:2026-11.b_1": {Name: "x", Version: "2026-11.b_1"},
	} {
		got, err := clade.ParseRef(text)
		if err != nil || got != want {
			t.Errorf("ParseRef(%q) = %+v, %v; want %+v", text, got, err, want)
		}
		data, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var back clade.Ref
		if err := json.Unmarshal(data, &back); err != nil || back != want {
			t.Errorf("%s came back as %+v (%v)", data, back, err)
		}
	}
	for _, bad := range []string{"", ":1", "a:", "a:b:c", "a:B", "a:.x", "../a:1"} {
		if _, err := clade.ParseRef(bad); clade.KindOf(err) != clade.Invalid {
			t.Errorf("ParseRef(%q) = %v, want kind %q", bad, err, clade.Invalid)
		}
	}
}

// A size in a command that a hint shows is one word, and read as what it was.
func TestBytesFlag(t *testing.T) {
	for size, want := range map[clade.Bytes]string{0: "0", 512 * clade.MiB: "512M", 1536 * clade.MiB: "1536M", 2 * clade.GiB: "2G", clade.TiB: "1T", clade.GiB + 1: "1073741825"} {
		got := size.Flag()
		if again, err := clade.ParseBytes(got); got != want || again != size || err != nil {
			t.Errorf("Flag of %d = %q, read as %d, %v; want %q", size, got, again, err, want)
		}
	}
}
