package identity

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
	"unicode/utf8"

	"github.com/clade-vm/clade/identity/identitytest"
)

// guest is one whose hostname is golden: some edits ask for it.
var guest = fstest.MapFS{"etc/hostname": {Data: []byte("golden\n")}}

// edits returns the edits that the mark of that name consists of.
func edits(t testing.TB, name string) []edit {
	m, ok := Find(name)
	if !ok {
		t.Fatalf("no mark %s", name)
	}
	var all []edit
	var open func(w way)
	open = func(w way) {
		switch w := w.(type) {
		case edit:
			all = append(all, w)
		case when:
			open(w.way)
		case parts:
			for _, p := range w {
				open(p.way)
			}
		}
	}
	open(m.way)
	if len(all) == 0 {
		t.Fatalf("mark %s has no edit", name)
	}
	return all
}

// fuzzEdit holds what every edit must: where the mark was found and taken out, it
// is not found again, whatever the guest's file holds.
func fuzzEdit(f *testing.F, mark string, more ...string) {
	for _, p := range identitytest.Plants()[mark].Files {
		f.Add(p)
	}
	for _, seed := range append(more, "", "\n", "[", "x", "\x00\xff") {
		f.Add(seed)
	}
	all := edits(f, mark)
	f.Fuzz(func(t *testing.T, body string) {
		for _, w := range all {
			checkEdit(t, w, body)
		}
	})
}

func checkEdit(t *testing.T, w edit, body string) {
	t.Helper()
	found := w.find(guest, "etc/x/a.network", body)
	if len(found) == 0 {
		return
	}
	for _, v := range found {
		if v == "" {
			t.Errorf("found nothing, and said so, in %q", body)
		}
	}
	fixed, err := w.fix(guest, "etc/x/a.network", body)
	if err != nil {
		return // it is told, and the mark stays found
	}
	if left := w.find(guest, "etc/x/a.network", fixed); len(left) != 0 {
		t.Errorf("%q is left in %q, of %q", left, fixed, body)
	}
}

func FuzzHosts(f *testing.F) {
	fuzzEdit(f, "hosts", "127.0.1.1 golden.lan golden # x\r\n", "::1 golden\t\n10.0.0.1\u00a0golden")
}
func FuzzPostfix(f *testing.F) {
	fuzzEdit(f, "postfix-myhostname", "myhostname=golden\nmyhostname = GOLDEN.x # golden")
}
func FuzzNetplanMAC(f *testing.F) { fuzzEdit(f, "netplan-mac", "a: {macaddress: 52:54:00:ab:cd:ef}\n") }
func FuzzNetworkdMAC(f *testing.F) {
	fuzzEdit(f, "networkd-mac", "[Match]\nMACAddress=52-54-00-ab-cd-ef 1\n[Match]\n")
}
func FuzzIfcfgMAC(f *testing.F)      { fuzzEdit(f, "ifcfg-mac") }
func FuzzIfcfgHostname(f *testing.F) { fuzzEdit(f, "ifcfg-hostname") }
func FuzzIfupdown(f *testing.F) {
	fuzzEdit(f, "ifupdown-address", "iface a inet static\n address 1.2.3.4", "address 10.0.0.1\n")
}
func FuzzIfcfgAddress(f *testing.F) { fuzzEdit(f, "ifcfg-address") }
func FuzzNetworkdAddress(f *testing.F) {
	fuzzEdit(f, "networkd-address", "Address=10.0.0.1/8\n[Network]", "[Link]\nAddress=10.0.0.1\n")
}
func FuzzNMAddress(f *testing.F) { fuzzEdit(f, "networkmanager-address", "[x]\naddress1=10.0.0.1/8\n") }
func FuzzDhcpcd(f *testing.F)    { fuzzEdit(f, "dhcpcd-address") }
func FuzzClientID(f *testing.F)  { fuzzEdit(f, "dhcp-client-id") }
func FuzzWireguard(f *testing.F) { fuzzEdit(f, "wireguard-keys") }
func FuzzAdjtime(f *testing.F)   { fuzzEdit(f, "adjtime", "1 2 3\n4\nUTC\n", "0.0 0 0.0\n0\nUTC\n") }
func FuzzSNMP(f *testing.F)      { fuzzEdit(f, "snmp-engine-id", "oldEngineID 0xA\noldEngineID 0xB") }
func FuzzSNMPUsers(f *testing.F) { fuzzEdit(f, "snmp-users-engine-id") }
func FuzzSnapd(f *testing.F) {
	fuzzEdit(f, "snapd-device", `{"data":{"auth":{"device":null}}}`, `{"data":{"auth":{"device":{"serial":"a","serial":"b"}}}}`, `[]`)
}
func FuzzZabbix(f *testing.F) { fuzzEdit(f, "zabbix-hostname") }

// A device in flow style is found, and told to stay.
func FuzzNetplanAddress(f *testing.F) {
	w := edits(f, "netplan-address")[0]
	for _, p := range identitytest.Plants()["netplan-address"].Files {
		f.Add(p)
	}
	f.Add("a:\n- addresses:\n  - 1.2.3.4/8\n addresses: [1.2.3.4/8,\n 1.2.3.5/8]\n")
	f.Add("eth0:\n  nameservers:\n    addresses: [1.2.3.4/8]\n")
	f.Add("addresses: [1.2.3.4/8]\naddresses:\n- fe80::1/64\n")
	f.Fuzz(func(t *testing.T, body string) {
		if !netplanFlowAddress.MatchString(body) {
			checkEdit(t, w, body)
		}
	})
}

// FuzzPasswd: homes are names below the root that no pattern can break out of.
func FuzzPasswd(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/srv/people/ann:/bin/bash\nodd:x:1:1::../../x:/bin/sh\nbroken\n")
	f.Add("a:::::/../..//x/./y\nb:::::/\x00\nc:::::/[a-\n")
	f.Fuzz(func(t *testing.T, passwd string) {
		all, err := homes(fstest.MapFS{"etc/passwd": {Data: []byte(passwd)}, "home/x/y": {}})
		if err != nil {
			return
		}
		for _, home := range all {
			if home == "" || strings.HasPrefix(home, "/") || slices.Contains(strings.Split(home, "/"), "..") || strings.Contains(home, "\x00") {
				t.Errorf("home %q of %q", home, passwd)
			}
		}
		if !slices.Contains(all, "home/x") || !slices.Contains(all, "root") {
			t.Errorf("homes %q of %q", all, passwd)
		}
		if !slices.IsSorted(all) {
			t.Errorf("homes %q are not sorted", all)
		}
	})
}

// FuzzNames: texts of one name, as hostname, initiator and machine-id have them.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"# x\n\nweb1\n", "localhost", "## x\nInitiatorName=iqn.x\n", "GenerateName=yes\n", identitytest.MachineID, "00000000000000000000000000000000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if name := ownName(body); generic(name) || strings.Contains(name, "\n") || !strings.Contains(body, name) {
			t.Errorf("ownName(%q) = %q", body, name)
		}
		if name := initiator(body); strings.Contains(name, "\n") || !strings.Contains(body, name) {
			t.Errorf("initiator(%q) = %q", body, name)
		}
		if id := validMachineID(body); id != "" && (len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "") {
			t.Errorf("validMachineID(%q) = %q", body, id)
		}
		for _, to := range []string{localhost, newInitiator(guest), "GenerateName=yes\n"} {
			if ownName(localhost) != "" || initiator(to) != "" {
				t.Error("what a file is reset to is a mark itself")
			}
		}
	})
}

// FuzzPrintable: whatever a guest's file is called or holds can be shown.
func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[2J\n\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		for _, shown := range []string{printable(s), plain([]byte(s)), Mark{Kind: Secret}.told(s)} {
			if !utf8.ValidString(shown) || len([]rune(shown)) > maxShown+3 || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q is shown as %q", s, shown)
			}
		}
		if !(Mark{Kind: Residue}.told(s) == "") {
			t.Error("residue is told")
		}
	})
}

// FuzzCache: a cache knows what the files themselves do.
func FuzzCache(f *testing.F) {
	f.Add("etc/ssh/x", "etc/ssh/x")
	f.Add("etc/ssh/x", "etc/ssh/x/y")
	f.Add("a", "b/c/d")
	f.Fuzz(func(t *testing.T, file, ask string) {
		if !fs.ValidPath(file) || !fs.ValidPath(ask) || file == "." || ask == "." {
			return
		}
		fsys := fstest.MapFS{file: {Data: []byte("x")}}
		c := newCache(fsys)
		_, direct := fs.Lstat(fsys, ask)
		for range 2 {
			if _, err := c.Lstat(ask); (err == nil) != (direct == nil) {
				t.Errorf("%q in %q: %v, directly %v", ask, file, err, direct)
			}
		}
	})
}
