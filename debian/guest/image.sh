# Run by sh with the right to mount, outside the new system, whose root is $1.
# $2 is the UUID of its file system, $3 its place on the disk, $4 its size in KiB;
# standard input is the disk.
set -eu
root=$1

# What mmdebstrap put in, and would take out only after this.
rm -rf "$root/clade-build" "$root/etc/apt/apt.conf.d/00mmdebstrap" "$root/usr/sbin/policy-rc.d"
if [ -e "$root/sbin/start-stop-daemon.REAL" ]; then
	mv "$root/sbin/start-stop-daemon.REAL" "$root/sbin/start-stop-daemon"
fi

# A second view of the system shows it without what is mounted into it. The new
# system's own mke2fs makes the file system: it knows what its boot loader reads.
exec unshare --mount sh -eu -c '
	mount --bind "$1" "$1/mnt"
	mount -t tmpfs -o mode=0755 tmpfs "$1/mnt/dev"
	mount -t tmpfs -o mode=0755 tmpfs "$1/mnt/run"
	mount -t tmpfs -o mode=1777 tmpfs "$1/mnt/tmp"
	exec chroot "$1" /sbin/mke2fs -q -F -t ext4 -b 4096 -I 256 -m 1 -J size=32 -L root -U "$2" \
		-O ^metadata_csum_seed,^orphan_file \
		-E "offset=$3,lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0" \
		-d /mnt /proc/self/fd/0 "$4k"
' sh "$root" "$2" "$3" "$4"
