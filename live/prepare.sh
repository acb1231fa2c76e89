# How clade makes a guest ready to be saved, and resumed as many: it leaves wake.sh
# waiting, in /run/clade what that takes, and as little in memory as it can.
#
#   sh -c "$(cat prepare.sh)" clade-prepare "$(cat wake.sh)" "$(cat hands.pl)" "$(cat hands.py)" <DMI
#
# DMI is two lines: what comes before and after the UUID in the firmware's table, as
# printf's %b takes it; empty where that is not known. The answer is "done", or
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
for program in chown mkdir mkfifo mount readlink rm sleep; do
	command -v $program >/dev/null || fail "it has no $program"
done
mkdir -p $dir && cat >$dir/dmi || fail "it has no /run"

# What the kernel keeps of its boot is hidden by files that each clone writes anew.
hide() {
	[ ! -e "$2" ] || { cat "$2" >"$dir/$1" && mount --bind "$dir/$1" "$2"; } || fail "it cannot hide $2"
}
hide product_uuid /sys/class/dmi/id/product_uuid
read -r first <$dir/dmi
[ -z "$first" ] || hide DMI /sys/firmware/dmi/tables/DMI
umask 022
hide boot_id /proc/sys/kernel/random/boot_id
umask 077

# Programs that have in memory what each clone will have another of.
if [ -d /run/systemd/system ]; then
	systemctl stop systemd-hostnamed.service 2>/dev/null
	for unit in ssh.service sshd.service; do
		pid=$(systemctl show -p MainPID --value $unit)
		[ "${pid:-0}" = 0 ] || echo "$pid" >$dir/sshd
	done
fi
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
if [ -h /var/lib/cloud/instance ]; then
	readlink -f /var/lib/cloud/instance >$dir/instance
fi

# The journal's server stands still from here on, and each clone has a new one go on
# with what was logged meanwhile. It gives up what it has on the disk before, since the
# room of files that are open cannot be had back. Tables for files of the size that it
# takes by itself are 3.5 MiB; until the next boot its files are smaller, and more.
pid=0
[ ! -d /run/systemd/system ] || pid=$(systemctl show -p MainPID --value systemd-journald.service)
if [ "${pid:-0}" != 0 ]; then
	echo "$pid" >$dir/journald
	if ! grep -Eqs '^ *SystemMaxFileSize' /etc/systemd/journald.conf; then
		(umask 022 && mkdir -p /run/systemd/journald.conf.d && printf '[Journal]\nSystemMaxFileSize=8M\n' >/run/systemd/journald.conf.d/00-clade.conf)
	fi
	if [ -e /run/systemd/journal/flushed ] && journalctl --relinquish-var 2>/dev/null; then
		: >/run/systemd/journal/flushed
	fi
	kill -STOP "$pid"
	rm -rf /var/log/journal/* /run/log/journal/*
fi

sync
echo 3 >/proc/sys/vm/drop_caches
fstrim -a 2>/dev/null
# What is mounted only because it was looked at would be unmounted in each clone.
auto=
while read -r _ where type _; do
	case $type,$auto in
	autofs,*) auto="$auto $where " ;;
	*" $where "*) umount "$where" 2>/dev/null ;;
	esac
done </proc/mounts

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
# What runs after every wake is left in memory: it need not be read then.
sync
modprobe virtio_net 2>/dev/null
for program in /usr/sbin/sshd /lib/systemd/systemd-journald /lib/systemd/systemd-sysctl; do
	[ ! -e $program ] || cat $program >/dev/null
done

mkfifo $dir/ask $dir/told $dir/orders $dir/answer || fail "it has no named pipes"
wake=$1 perl=$2 python=$3
if [ -x /usr/bin/perl ]; then
	set -- perl -e "$perl"
else
	set -- python3 -c "$python"
fi
/bin/sh -c "$wake" clade-wake "$@" </dev/null >/dev/null 2>&1 &
n=0
while [ ! -e $dir/ready ]; do
	n=$((n + 1))
	[ $n -lt 300 ] || fail "it cannot draw random numbers"
	sleep 0.1
done
rm $dir/ready
echo "done"
