# Run by sh in the new system, as root, when all packages are installed.
# $1 is the UUID of the root file system, $2 the ways to boot.
set -eu
umask 022
build=/clade-build

# Nothing may speak to the network by itself, and what serves no small machine need
# not run; a user can enable these again.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service dpkg-db-backup.timer; do
	if [ -e "/lib/systemd/system/$unit" ]; then
		systemctl --quiet disable "$unit"
	fi
done
systemctl --quiet enable systemd-networkd.service systemd-resolved.service

# The recipe's own commands.
(cd / && sh -eu "$build/run.sh" </dev/null)

# The boot loader's files in the root file system, as grub-install would put them.
mkdir -p /boot/grub "$build/boot"
cat >"$build/early.cfg" <<EOF
search.fs_uuid $1 root
set prefix=(\$root)/boot/grub
EOF
case " $2 " in *" bios "*)
	mkdir -p /boot/grub/i386-pc
	cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /boot/grub/i386-pc/
	grub-mkimage -O i386-pc -d /usr/lib/grub/i386-pc -p /boot/grub -c "$build/early.cfg" \
		-o "$build/boot/core.img" biosdisk part_gpt ext2 search search_fs_uuid
	cp /usr/lib/grub/i386-pc/boot.img "$build/boot/"
	;;
esac
case " $2 " in *" uefi "*)
	mkdir -p /boot/grub/x86_64-efi /boot/efi
	cp /usr/lib/grub/x86_64-efi/*.mod /usr/lib/grub/x86_64-efi/*.lst /boot/grub/x86_64-efi/
	cp /usr/lib/shim/shimx64.efi.signed "$build/boot/BOOTX64.EFI"
	cp /usr/lib/shim/mmx64.efi.signed "$build/boot/mmx64.efi"
	cp /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed "$build/boot/grubx64.efi"
	;;
esac
case " $2 " in *" bios uefi "* | *" uefi bios "*)
	: >/etc/grub.d/enable_cloud # upgrades of grub install both loaders again
	;;
esac

# The first menu; update-grub writes the next ones.
. /etc/default/grub.d/50-clade.cfg
kernel=$(ls /boot/vmlinuz-* | sort -V | tail -n 1)
version=${kernel#/boot/vmlinuz-}
cat >/boot/grub/grub.cfg <<EOF
insmod part_gpt
insmod ext2
insmod gzio
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
search --no-floppy --fs-uuid --set=root $1
menuentry 'Debian GNU/Linux' {
	linux /boot/vmlinuz-$version root=UUID=$1 ro $GRUB_CMDLINE_LINUX
	initrd /boot/initrd.img-$version
}
EOF

# What an installation leaves behind: caches, logs, and identity.
apt-get clean
find /var/lib/apt/lists -type f -delete
rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/ldconfig/aux-cache
find /var/log -type f -delete
rm -f /etc/ssh/ssh_host_* /etc/hostname.bak /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
rm -f /var/lib/dbus/machine-id
if [ -d /var/lib/dbus ]; then
	ln -s /etc/machine-id /var/lib/dbus/machine-id
fi
: >/etc/machine-id
rm -f /etc/resolv.conf
ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
