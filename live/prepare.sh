# How clade makes a guest ready to be saved, and resumed as many: it leaves in
# /run/clade what wake.sh takes, and as little in memory as it can.
#
#   sh -c "$(cat prepare.sh)" clade-prepare <DMI
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
for program in chown date head ln mkdir mount mv readlink rm; do
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
	pid=$(systemctl show -p MainPID --value systemd-journald.service)
	[ "${pid:-0}" = 0 ] || echo "$pid" >$dir/journald
	for unit in ssh.service sshd.service; do
		pid=$(systemctl show -p MainPID --value $unit)
		[ "${pid:-0}" = 0 ] || echo "$pid" >$dir/sshd
	done
fi
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
if [ -h /var/lib/cloud/instance ]; then
	readlink -f /var/lib/cloud/instance >$dir/instance
fi

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
# Programs that every wake runs are left in memory: they need not be read then.
sync
for program in perl date head mv ln rm ssh-keygen; do
	path=$(command -v $program) && cat "$path" >/dev/null
done
perl -e 1 2>/dev/null
date >/dev/null
ssh-keygen -q -t ed25519 -N '' -f $dir/k 2>/dev/null && rm -f $dir/k $dir/k.pub
echo "done"
