//go:build integration

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/appliance"
	"github.com/clade-vm/clade/identity"
	"github.com/clade-vm/clade/identity/identitytest"
	"github.com/clade-vm/clade/qcow2"
)

// server are the marks of an ordinary server that has run for a while.
var server = []string{
	"hostname", "hosts", "mailname", "machine-id", "random-seed", "ssh-host-keys", "ssh-authorized-keys", "snakeoil", "netplan-mac",
	"cloud-init-instance", "cloud-init-state", "cloud-init-logs", "dhclient-leases", "networkd-leases", "iscsi-initiator",
	"popularity-contest", "passwd-backups", "histories", "sudo-state", "logrotate-state", "login-records", "journal", "logs",
	"apt-cache", "apt-lists", "tmp", "mail-spool", "locate-database",
}

// A fleet is linked clones of a server, and the appliance that reads them.
type fleet struct {
	*testing.B
	vm     *appliance.Appliance
	clones [][]appliance.Disk
}

func newFleet(b *testing.B, clones int) *fleet {
	b.Helper()
	dir := b.TempDir()
	master := filepath.Join(dir, "master.img")
	tool(b, "/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", serverTree(b), master, "2G")
	f := &fleet{B: b, vm: &appliance.Appliance{Dir: cache(b), Init: program(b)}}
	overlay, err := qcow2.Overlay{Virtual: 2 * clade.GiB, Backing: "master.img", BackingFormat: "raw"}.Render()
	if err != nil {
		b.Fatal(err)
	}
	for i := range clones {
		path := filepath.Join(dir, fmt.Sprintf("clone-%d.qcow2", i))
		if err := overlay.Write(path); err != nil {
			b.Fatal(err)
		}
		f.clones = append(f.clones, []appliance.Disk{{Path: path, Format: appliance.Qcow2, Backed: true}})
	}
	f.read(1) // the kernel is found, and the initramfs made
	return f
}

// serverTree grows the server's marks among files like those of a Debian system.
func serverTree(b *testing.B) string {
	b.Helper()
	tree := b.TempDir()
	all := identitytest.Plants()
	for _, mark := range server {
		plant, ok := all[mark]
		if !ok {
			b.Fatalf("no plant %s", mark)
		}
		if err := identitytest.Grow(tree, plant); err != nil {
			b.Fatal(err)
		}
	}
	files := map[string]string{"etc/os-release": "PRETTY_NAME=\"Bench Linux\"\n"}
	for _, dir := range []string{"etc", "etc/default", "etc/systemd/system", "usr/bin", "usr/lib/systemd/system", "var/lib/dpkg/info", "home/ann"} {
		for i := range 100 {
			files[fmt.Sprintf("%s/file-%d", dir, i)] = "text\n"
		}
	}
	for i := range 60 {
		files[fmt.Sprintf("var/lib/package-%d/state", i)] = "text\n"
		files[fmt.Sprintf("etc/package-%d/conf", i)] = "text\n"
	}
	if err := identitytest.Grow(tree, identitytest.Plant{Files: files}); err != nil {
		b.Fatal(err)
	}
	return tree
}

// cache is where the appliance's kernel is kept between runs.
func cache(b *testing.B) string {
	b.Helper()
	dir := os.Getenv("CLADE_TEST_CACHE")
	if dir == "" {
		dir = filepath.Join(must(os.UserCacheDir()), "clade-test")
	}
	return filepath.Join(dir, "appliance")
}

// read reads the first n clones and returns how long that took.
func (f *fleet) read(n int) time.Duration {
	f.Helper()
	began := time.Now()
	results, err := f.vm.Read(f.Context(), f.clones[:n], identity.Outline, nil)
	took := time.Since(began)
	if err != nil {
		f.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || len(r.Findings) < 40 {
			f.Fatalf("clone %d: %v, %d findings", i, r.Err, len(r.Findings))
		}
	}
	return took
}

// BenchmarkAudit1 reads the marks of one linked clone: a whole boot of the VM.
func BenchmarkAudit1(b *testing.B) {
	f := newFleet(b, 1)
	var times []time.Duration
	for b.Loop() {
		times = append(times, f.read(1))
	}
	slices.Sort(times)
	b.ReportMetric(median(times).Seconds()*1e3, "median-ms")
}

// BenchmarkAudit50 reads the marks of 50 linked clones in one boot, against one,
// in turn, so that what else the computer does meets both.
func BenchmarkAudit50(b *testing.B) {
	f := newFleet(b, 50)
	var one, fifty []time.Duration
	for b.Loop() {
		one, fifty = append(one, f.read(1)), append(fifty, f.read(50))
	}
	slices.Sort(one)
	slices.Sort(fifty)
	b.ReportMetric(median(fifty).Seconds()*1e3, "median-ms")
	b.ReportMetric(median(fifty).Seconds()/median(one).Seconds(), "times-one")
}
