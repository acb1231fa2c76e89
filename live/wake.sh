# How clade makes a guest that was resumed a machine of its own, before it has a
# network: sh -c "$(cat wake.sh)" clade-wake <ORDERS
#
# What it was resumed from, all its siblings were resumed from: their kernels would
# draw the same "random" numbers. So entropy comes first, and the kernel is forced to
# use it; what follows is drawn anew or told by clade. Orders are lines "key value",
# on standard input since arguments can be seen by all users of the guest:
#
#   entropy HEX       random bytes of the host
#   time SECONDS      since 1970
#   hostname NAME     machine-id ID     boot-id UUID     uuid UUID (of the firmware)
#   dmi OCTAL         the same UUID as printf's %b takes its bytes
#   instance-id ID    cloud-init's; what it did is done under this id
#   user NAME         and "key LINE": keys that may log in as this user
#
# The answer is lines "key value" too: draws of the kernel, what was made, and at
# last "done". It stops at the first thing that fails. A command costs a guest without
# KVM a twentieth of a second, so that most is done by the shell itself; prepare.sh
# has left in /run/clade what it takes.
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin IFS=' '
export LC_ALL PATH
umask 077
dir=/run/clade
nl='
'
fail() {
	echo "failed $1"
	exit 1
}

keys= entropy= time= hostname= machine= boot= uuid= dmi= instance= user=
while read -r key value; do
	case $key in
	entropy) entropy=$value ;;
	time) time=$value ;;
	hostname) hostname=$value ;;
	machine-id) machine=$value ;;
	boot-id) boot=$value ;;
	uuid) uuid=$value ;;
	dmi) dmi=$value ;;
	instance-id) instance=$value ;;
	user) user=$value ;;
	key) keys=$keys$value$nl ;;
	*) fail orders ;;
	esac
done

# draw credits the entropy (RNDADDENTROPY), has every processor's generator begin anew
# with it (RNDRESEEDCRNG), and draws. To write it to /dev/urandom would do neither.
draw() {
	if [ -x /usr/bin/perl ]; then
		perl -e '
			my $seed = pack("H*", <STDIN> =~ s/\s//gr);
			open(my $r, "+<", "/dev/random") or die "open: $!\n";
			if (length $seed) {
				ioctl($r, 0x40085203, pack("iia*", 8 * length $seed, length $seed, $seed)) or die "add: $!\n";
				ioctl($r, 0x5207, 0) or die "reseed: $!\n";
			}
			open(my $u, "<:raw", "/dev/urandom") or die "open: $!\n";
			sysread($u, my $drawn, 32) == 32 or die "draw: $!\n";
			print unpack("H*", $drawn), "\n"'
	else
		python3 -c '
import fcntl, os, struct, sys
seed = bytes.fromhex(sys.stdin.read().strip())
if seed:
    with open("/dev/random", "wb", buffering=0) as r:
        fcntl.ioctl(r, 0x40085203, struct.pack("ii", 8 * len(seed), len(seed)) + seed)
        fcntl.ioctl(r, 0x5207)
print(os.urandom(32).hex())'
	fi
}
drawn=$(printf '%s\n' "$entropy" | draw) && echo "draw $drawn" || fail draw
read -r drawn </proc/sys/kernel/random/uuid && echo "uuid $drawn" || fail uuid
[ ! -d /var/lib/systemd ] || head -c 512 /dev/urandom >/var/lib/systemd/random-seed || fail random-seed
date -u -s "@$time" >/dev/null || fail time

# What the kernel keeps of its boot lies under these files, which are mounted there.
printf '%s\n' "$boot" >$dir/boot_id && printf '%s\n' "$uuid" >$dir/product_uuid || fail boot-id
if [ -s $dir/dmi ] && { read -r before && read -r after; } <$dir/dmi; then
	printf %b "$before$dmi$after" >$dir/DMI || fail dmi
fi

read -r old </proc/sys/kernel/hostname
printf '%s\n' "$hostname" >/etc/hostname && printf %s "$hostname" >/proc/sys/kernel/hostname || fail hostname
if [ -f /etc/hosts ]; then
	hosts=
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in *"$old"*) line="${line%%[ 	]*}	$hostname	$hostname" ;; esac
		hosts=$hosts$line$nl
	done </etc/hosts
	printf %s "$hosts" >/etc/hosts || fail hosts
fi

printf '%s\n' "$machine" >/etc/machine-id || fail machine-id
if [ -f /var/lib/dbus/machine-id ] && [ ! -h /var/lib/dbus/machine-id ]; then
	printf '%s\n' "$machine" >/var/lib/dbus/machine-id || fail dbus-machine-id
fi

# gone waits until a process that is to end has ended.
gone() {
	n=0
	while [ -d "/proc/$1" ]; do
		n=$((n + 1))
		[ $n -lt 200000 ] || return 1
	done
}
# The journal's server has the old id in memory; systemd starts it again at once.
if [ -s $dir/journald ] && read -r pid <$dir/journald; then
	kill "$pid" && gone "$pid" || fail journald
fi
rm -rf /var/log/journal/* /run/log/journal/* || fail journal

if [ -d /etc/ssh ] && [ -x /usr/bin/ssh-keygen ]; then
	umask 022 # for the public one; the other is 0600 in any case
	ssh-keygen -q -t ed25519 -N '' -C "root@$hostname" -f /etc/ssh/ssh_host_ed25519_key || fail ssh-keygen
	umask 077
	read -r type key _ </etc/ssh/ssh_host_ed25519_key.pub && echo "host-key $type $key" || fail host-key
fi
# listener prints the number of the socket that waits for SSH.
listener() {
	while read -r _ at _ state _ _ _ _ _ inode _; do
		case $at$state in *:00160A) echo "$inode" && return ;; esac
	done </proc/net/tcp
}
# sshd has the old keys in memory: it listens anew once it has read the new ones.
if [ -s $dir/sshd ] && read -r pid <$dir/sshd; then
	was=$(listener)
	kill -HUP "$pid" || fail sshd
	n=0
	while [ -n "$was" ] && [ "$(listener)" = "$was" ]; do
		n=$((n + 1))
		[ $n -lt 20000 ] || fail "sshd"
	done
fi

if [ -n "$instance" ] && [ -s $dir/instance ] && read -r was <$dir/instance; then
	cloud=/var/lib/cloud
	mv "$was" "$cloud/instances/$instance" && ln -sfn "$cloud/instances/$instance" $cloud/instance &&
		printf '%s\n' "$instance" >$cloud/data/instance-id || fail instance-id
fi

if [ -n "$keys" ]; then
	while IFS=: read -r name _ uid gid _ home _; do
		[ "$name" != "$user" ] || break
	done </etc/passwd
	[ "$name" = "$user" ] && [ -d "$home" ] && [ ! -h "$home/.ssh" ] || fail user
	mkdir -p "$home/.ssh" && printf %s "$keys" >>"$home/.ssh/authorized_keys" &&
		chown -R "$uid:$gid" "$home/.ssh" || fail keys
fi

read -r is </etc/machine-id && echo "machine-id $is"
read -r is </proc/sys/kernel/hostname && echo "hostname $is"
echo "done"
