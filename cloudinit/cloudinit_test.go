package cloudinit

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	disk "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat12"

	"github.com/clade-vm/clade"
)

const testKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDvb9v6Q5iUZ1FnXJmq2mG0wT3E8m1l0eZgQ3Vxq0G3b ann@example"

func testSeed() *Seed {
	return &Seed{
		InstanceID: "i-0123", Hostname: "web-1", User: "ann", SSHKeys: []string{testKey + "\n"},
		UserData: []byte("#!/bin/sh\r\necho 'ü' \x00\n"),
		NICs: []NIC{
			{MAC: net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}},
			{MAC: net.HardwareAddr{0x52, 0x54, 0, 1, 2, 4}, Address: netip.MustParsePrefix("10.7.0.9/24"),
				Gateway: netip.MustParseAddr("10.7.0.1"), DNS: []netip.Addr{netip.MustParseAddr("10.7.0.1")}},
		},
	}
}

// read writes a seed and returns its files as go-diskfs reads them back.
func read(t *testing.T, s *Seed) map[string][]byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "seed.img")
	if err := s.Write(name); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := fat12.Read(disk.New(f, true), volumeSize, 0, 512)
	if err != nil {
		t.Fatal(err)
	}
	if label := strings.TrimSpace(v.Label()); label != "CIDATA" {
		t.Errorf("label = %q, want CIDATA", label)
	}
	entries, err := v.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string][]byte)
	for _, e := range entries {
		data, err := v.ReadFile(e.Name())
		info, err2 := e.Info()
		if err := errors.Join(err, err2); err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		got[e.Name()] = data[:min(info.Size(), int64(len(data)))] // go-diskfs may read the last cluster whole
	}
	return got
}

func TestWrite(t *testing.T) {
	s := testSeed()
	got := read(t, s)
	if len(got) != 4 {
		t.Errorf("the volume has %d files, want 4", len(got))
	}
	if !bytes.Equal(got["user-data"], s.UserData) {
		t.Errorf("user-data = %q, want %q unchanged", got["user-data"], s.UserData)
	}
	var meta struct {
		ID   string   `json:"instance-id"`
		Host string   `json:"local-hostname"`
		Keys []string `json:"public-keys"`
	}
	if err := json.Unmarshal(got["meta-data"], &meta); err != nil {
		t.Fatal(err)
	}
	if meta.ID != "i-0123" || meta.Host != "web-1" || !slices.Equal(meta.Keys, []string{testKey}) {
		t.Errorf("meta-data = %+v", meta)
	}
	vendor, ok := strings.CutPrefix(string(got["vendor-data"]), "#cloud-config\n")
	if !ok || !strings.Contains(vendor, `"ann"`) || strings.Contains(vendor, testKey) {
		t.Errorf("vendor-data = %s", got["vendor-data"])
	}
	var config struct {
		Version   int
		Ethernets map[string]map[string]any
	}
	if err := json.Unmarshal(got["network-config"], &config); err != nil {
		t.Fatal(err)
	}
	first, second := config.Ethernets["nic0"], config.Ethernets["nic1"]
	if config.Version != 2 || first["dhcp4"] != true || first["dhcp-identifier"] != "mac" || first["addresses"] != nil {
		t.Errorf("network-config = %s", got["network-config"])
	}
	if second["dhcp4"] != nil || second["addresses"].([]any)[0] != "10.7.0.9/24" {
		t.Errorf("network-config = %s", got["network-config"])
	}
}

func TestWriteLeast(t *testing.T) {
	got := read(t, &Seed{InstanceID: "a", Hostname: "a"})
	if len(got) != 3 || got["network-config"] != nil {
		t.Errorf("files = %v, want no network-config", got)
	}
	if !bytes.HasPrefix(got["user-data"], []byte("#cloud-config\n")) {
		t.Errorf("user-data = %q", got["user-data"])
	}
}

func TestWriteLargest(t *testing.T) {
	s := testSeed()
	s.UserData = bytes.Repeat([]byte("# comment\n"), int(MaxUserData)/10)
	for len(s.SSHKeys) < maxKeys {
		s.SSHKeys = append(s.SSHKeys, testKey)
	}
	if got := read(t, s); !bytes.Equal(got["user-data"], s.UserData) {
		t.Errorf("user-data of %d bytes came back with %d", len(s.UserData), len(got["user-data"]))
	}
}

func TestWriteIsDeterministicPrivateAndWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "seed.img")
	if err := os.WriteFile(name, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := testSeed().Write(name); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 || info.Size() != volumeSize {
		t.Errorf("mode %v, size %d; want 0600, %d", info.Mode(), info.Size(), volumeSize)
	}
	time.Sleep(2100 * time.Millisecond) // FAT counts time in steps of two seconds
	if err := testSeed().Write(name); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(name); !bytes.Equal(first, second) {
		t.Error("the same seed gave other bytes later")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files in the directory, want the seed alone", len(entries))
	}
}

func TestWriteRefuses(t *testing.T) {
	tests := map[string]func(*Seed){
		"no instance":        func(s *Seed) { s.InstanceID = "" },
		"lines in instance":  func(s *Seed) { s.InstanceID = "a\nb" },
		"no hostname":        func(s *Seed) { s.Hostname = "" },
		"hostname":           func(s *Seed) { s.Hostname = "a b" },
		"user":               func(s *Seed) { s.User = "a: b" },
		"user-data":          func(s *Seed) { s.UserData = make([]byte, MaxUserData+1) },
		"key":                func(s *Seed) { s.SSHKeys = []string{"SECRET"} },
		"two lines of key":   func(s *Seed) { s.SSHKeys = []string{testKey + "\n" + testKey} },
		"many keys":          func(s *Seed) { s.SSHKeys = make([]string, maxKeys+1) },
		"no MAC":             func(s *Seed) { s.NICs[0].MAC = nil },
		"multicast MAC":      func(s *Seed) { s.NICs[0].MAC[0] = 1 },
		"gateway alone":      func(s *Seed) { s.NICs[0].Gateway = netip.MustParseAddr("10.0.0.1") },
		"gateway of other":   func(s *Seed) { s.NICs[1].Gateway = netip.MustParseAddr("fe80::1") },
		"DNS is no address":  func(s *Seed) { s.NICs[1].DNS = []netip.Addr{{}} },
		"address with bits ": func(s *Seed) { s.NICs[1].Address = netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 99) },
	}
	for about, spoil := range tests {
		s := testSeed()
		spoil(s)
		name := filepath.Join(t.TempDir(), "seed.img")
		err := s.Write(name)
		if !errors.Is(err, clade.Invalid) {
			t.Errorf("%s: error = %v, want %v", about, err, clade.Invalid)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error %q quotes the key", about, err)
		}
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s: a volume was written", about)
		}
	}
	if err := testSeed().Write(filepath.Join(t.TempDir(), "none", "seed.img")); !errors.Is(err, clade.NotFound) {
		t.Errorf("into no directory: error = %v, want %v", err, clade.NotFound)
	}
}

func BenchmarkWrite(b *testing.B) {
	name := filepath.Join(b.TempDir(), "seed.img")
	s := testSeed()
	for b.Loop() {
		if err := s.Write(name); err != nil {
			b.Fatal(err)
		}
	}
}

// TestWriteForNoNetwork: a guest that has no network, or not yet.
func TestWriteForNoNetwork(t *testing.T) {
	got := read(t, &Seed{InstanceID: "a", Hostname: "a", Local: true, KeepKeys: true, NICs: []NIC{{Driver: "virtio_net"}}})
	for name, want := range map[string]string{"meta-data": `"dsmode": "local"`, "vendor-data": `"ssh_deletekeys": false`, "network-config": `"driver": "virtio_net"`} {
		if !strings.Contains(string(got[name]), want) {
			t.Errorf("%s lacks %s: %s", name, want, got[name])
		}
	}
	if strings.Contains(string(got["network-config"]), "macaddress") {
		t.Errorf("network-config = %s, want no MAC in it", got["network-config"])
	}
}
