# How clade makes a guest ready to be saved: it looks whether wake.sh can do its
# work in clones of it, and leaves as little in memory as it can.
#
#   sh -c "$(cat prepare.sh)" clade-prepare [DMI-OFFSET]
#
# DMI-OFFSET is where the firmware's table has the UUID. The answer is "done", or
# "failed" and why.
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
dir=/run/clade

fail() {
	echo "failed $1"
	exit 1
}

[ -x /usr/bin/perl ] || command -v python3 >/dev/null || fail "it has neither perl nor python3"
for program in date mount sed od head dd readlink; do
	command -v $program >/dev/null || fail "it has no $program"
done
mkdir -p $dir && printf '%s\n' "$1" >$dir/dmi-offset || fail "it has no /run"

# Units that keep in memory what wakes as another.
units=
if [ -d /run/systemd/system ]; then
	for unit in systemd-journald.service systemd-networkd.service ssh.service sshd.service; do
		id=$(systemctl show -p Id --value $unit)
		case " $units " in *" $id "*) continue ;; esac
		! systemctl -q is-active $unit || units="$units $id"
	done
	systemctl stop systemd-hostnamed.service 2>/dev/null
fi
printf '%s\n' "$units" >$dir/units

sync
echo 3 >/proc/sys/vm/drop_caches
fstrim -a 2>/dev/null

# Memory that nobody uses is filled with zeroes, which take no room when it is saved,
# up to what must be left for the kernel to live.
while read -r name size _; do
	case $name in MemFree:) free=$size ;; esac
done </proc/meminfo
spare=$((free / 1024 - 48))
if [ $spare -gt 0 ] && mkdir -p $dir/zero && mount -t tmpfs -o size=100% none $dir/zero; then
	dd if=/dev/zero of=$dir/zero/zero bs=1M count=$spare 2>/dev/null
	umount $dir/zero
	rmdir $dir/zero
fi
sync
echo "done"
