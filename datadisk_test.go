package clade_test

import (
	"errors"
	"testing"

	"github.com/clade-vm/clade"
)

func TestParseDataDisk(t *testing.T) {
	for text, want := range map[string]clade.DataDisk{
		"20G":            {Size: 20 * clade.GiB},
		"home=1.5G":      {Size: 3 * clade.GiB / 2, Label: "home"},
		"64M:/srv":       {Size: 64 * clade.MiB, Mount: "/srv"},
		"home=20G:/home": {Size: 20 * clade.GiB, Label: "home", Mount: "/home"},
	} {
		if got, err := clade.ParseDataDisk(text); err != nil || got != want {
			t.Errorf("ParseDataDisk(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "home", "home=", "=20G", "Home=20G", "a b=20G", "1a=20G", "a-=1G", "abcdefghijklmnopq=1G", "20G:", "home=20Q"} {
		if got, err := clade.ParseDataDisk(text); !errors.Is(err, clade.Invalid) {
			t.Errorf("ParseDataDisk(%q) = %+v, %v; want kind %q", text, got, err, clade.Invalid)
		}
	}
}

func TestAddDataDisks(t *testing.T) {
	have := []clade.Disk{{Virtual: clade.GiB}, {Slot: 1, Label: "data", Mount: "/data"}}
	want := []clade.DataDisk{{Size: clade.GiB}, {Size: clade.GiB + 1, Label: "home"}, {Size: clade.GiB, Label: "data2", Mount: "/srv"}}
	got, err := clade.AddDataDisks(have, want)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range []clade.Disk{
		{Slot: 2, Virtual: clade.GiB, Label: "data3", Mount: "/data/data3"}, // data is taken, data2 is asked for
		{Slot: 3, Virtual: clade.GiB + clade.MiB, Label: "home", Mount: "/data/home"},
		{Slot: 4, Virtual: clade.GiB, Label: "data2", Mount: "/srv"},
	} {
		if got[i] != w {
			t.Errorf("disk %d = %+v, want %+v", i, got[i], w)
		}
	}
}

func TestAddDataDisksRefuses(t *testing.T) {
	have := []clade.Disk{{Virtual: clade.GiB}, {Slot: 1, Label: "old", Mount: "/old"}}
	for about, d := range map[string]clade.DataDisk{
		"too small":         {Size: clade.MiB},
		"too large":         {Size: 65 * clade.TiB},
		"taken label":       {Size: clade.GiB, Label: "old"},
		"taken directory":   {Size: clade.GiB, Mount: "/old"},
		"bad label":         {Size: clade.GiB, Label: "a b"},
		"relative":          {Size: clade.GiB, Mount: "data"},
		"root":              {Size: clade.GiB, Mount: "/"},
		"dots":              {Size: clade.GiB, Mount: "/data/../etc"},
		"blank":             {Size: clade.GiB, Mount: "/a b"},
		"line":              {Size: clade.GiB, Mount: "/a\nb"},
		"what boots":        {Size: clade.GiB, Mount: "/usr/local"},
		"cloud-init's home": {Size: clade.GiB, Mount: "/var/lib/cloud"},
	} {
		if got, err := clade.AddDataDisks(have, []clade.DataDisk{d}); !errors.Is(err, clade.Invalid) {
			t.Errorf("%s: AddDataDisks = %+v, %v; want kind %q", about, got, err, clade.Invalid)
		}
	}
	many := make([]clade.DataDisk, clade.MaxDataDisks+1)
	for i := range many {
		many[i].Size = clade.GiB
	}
	if _, err := clade.AddDataDisks(nil, many); !errors.Is(err, clade.Invalid) {
		t.Errorf("%d disks: error %v, want kind %q", len(many), err, clade.Invalid)
	}
}
