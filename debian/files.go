package debian

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"

	_ "embed"

	"github.com/clade-vm/clade/recipe"
)

//go:embed guest/configure.sh
var configureScript string

//go:embed guest/image.sh
var imageScript string

// files returns what is put into the new system, by path: its configuration,
// and under /clade-build what is needed on the way only.
func (b *build) files() map[string]string {
	f := map[string]string{
		"clade-build/configure.sh": configureScript,
		"clade-build/image.sh":     imageScript,
		"clade-build/run.sh":       "set -eu\n" + strings.Join(b.Recipe.Run, "\n") + "\n",

		"etc/hostname": string(b.Recipe.Name) + "\n",
		"etc/hosts":    "127.0.0.1 localhost\n127.0.1.1 " + string(b.Recipe.Name) + "\n::1 localhost ip6-localhost ip6-loopback\n",
		"etc/fstab":    fmt.Sprintf("UUID=%s / ext4 noatime,errors=remount-ro 0 1\n", b.root),

		"etc/default/locale":                     "LANG=C.UTF-8\n",
		"etc/default/grub.d/50-clade.cfg":        grubDefaults,
		"etc/cloud/cloud.cfg.d/90-clade.cfg":     fmt.Sprintf(cloudDefaults, b.Recipe.User),
		"etc/systemd/resolved.conf.d/clade.conf": resolvedDefaults,
	}
	if b.Recipe.Boots(recipe.UEFI) {
		f["etc/fstab"] += fmt.Sprintf("PARTUUID=%s /boot/efi vfat umask=0077,noauto,x-systemd.automount,x-systemd.idle-timeout=1min 0 0\n", b.layout.esp.id)
	}
	return f
}

// grubDefaults is read by update-grub in the guest, and by configure.sh.
const grubDefaults = `GRUB_TIMEOUT=0
GRUB_RECORDFAIL_TIMEOUT=0
GRUB_DISABLE_OS_PROBER=true
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200 consoleblank=0"
`

// cloudDefaults spares the first boot what takes long or asks the network: keys of
// three kinds, a locale to compile, a search for clouds.
const cloudDefaults = `datasource_list: [NoCloud, None]
ssh_genkeytypes: [ed25519]
ssh_deletekeys: true
ssh: {emit_keys_to_console: false}
locale: false
grub_dpkg: {enabled: false}
apt: {preserve_sources_list: true}
manage_etc_hosts: localhost
growpart: {mode: auto, devices: [/]}
resize_rootfs: true
system_info:
  default_user:
    name: %s
    lock_passwd: true
    gecos: Debian
    groups: [adm, sudo, dialout, cdrom, audio, video, plugdev]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
`

// resolvedDefaults keep the resolver from asking anybody but the network's DNS.
const resolvedDefaults = `[Resolve]
LLMNR=no
MulticastDNS=no
FallbackDNS=
`

// writeFiles writes files as a tar archive in which all is root's.
func writeFiles(w io.Writer, files map[string]string) error {
	tw := tar.NewWriter(w)
	made := map[string]bool{".": true}
	for _, name := range sortedKeys(files) {
		if err := writeDirs(tw, path.Dir(name), made); err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name])), Uname: "root", Gname: "root"}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, files[name]); err != nil {
			return err
		}
	}
	return tw.Close()
}

// writeDirs writes the directories above a file that were not written before.
func writeDirs(tw *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := writeDirs(tw, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, Uname: "root", Gname: "root"})
}
