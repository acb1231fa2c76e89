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
# last "done". It stops at the first thing that fails. It needs perl or python3.
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
dir=/run/clade

fail() {
	echo "failed $1"
	exit 1
}

keys= entropy= time= hostname= machine= boot= uuid= dmi= instance= user=
while IFS=' ' read -r key value; do
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
	key) keys="$keys$value
" ;;
	*) fail orders ;;
	esac
done

# reseed credits the entropy (RNDADDENTROPY) and has every processor's generator
# begin anew with it (RNDRESEEDCRNG). To write it to /dev/urandom would do neither.
reseed() {
	if [ -x /usr/bin/perl ]; then
		perl -e '
			my $seed = pack("H*", <STDIN> =~ s/\s//gr);
			open(my $r, "+<", "/dev/random") or die "open: $!\n";
			ioctl($r, 0x40085203, pack("iia*", 8 * length $seed, length $seed, $seed)) or die "add: $!\n";
			ioctl($r, 0x5207, 0) or die "reseed: $!\n"'
	else
		python3 -c '
import fcntl, struct, sys
seed = bytes.fromhex(sys.stdin.read().strip())
with open("/dev/random", "wb", buffering=0) as r:
    fcntl.ioctl(r, 0x40085203, struct.pack("ii", 8 * len(seed), len(seed)) + seed)
    fcntl.ioctl(r, 0x5207)'
	fi
}

if [ -n "$entropy" ]; then
	printf '%s\n' "$entropy" | reseed || fail reseed
fi
draw=$(od -An -N32 -tx1 /dev/urandom) || fail draw
echo "draw" $draw
read -r draw </proc/sys/kernel/random/uuid && echo "uuid $draw" || fail uuid
[ ! -d /var/lib/systemd ] || head -c 512 /dev/urandom >/var/lib/systemd/random-seed || fail random-seed

date -u -s "@$time" >/dev/null || fail time

# What the kernel keeps from its boot is hidden by what is this machine's own.
hide() {
	[ ! -e "$2" ] || mount --bind "$dir/$1" "$2" || fail "$2"
}
printf '%s\n' "$boot" >$dir/boot_id && chmod 444 $dir/boot_id || fail boot-id
hide boot_id /proc/sys/kernel/random/boot_id
printf '%s\n' "$uuid" >$dir/product_uuid && chmod 400 $dir/product_uuid || fail uuid
hide product_uuid /sys/class/dmi/id/product_uuid
if [ -s $dir/dmi-offset ] && read -r offset <$dir/dmi-offset; then
	cat /sys/firmware/dmi/tables/DMI >$dir/DMI &&
		printf %b "$dmi" | dd of=$dir/DMI bs=1 seek="$offset" conv=notrunc 2>/dev/null && chmod 400 $dir/DMI || fail dmi
	hide DMI /sys/firmware/dmi/tables/DMI
fi

read -r old </proc/sys/kernel/hostname
printf '%s\n' "$hostname" >/etc/hostname && printf %s "$hostname" >/proc/sys/kernel/hostname || fail hostname
[ ! -f /etc/hosts ] || sed -i "s/\\b$old\\b/$hostname/g" /etc/hosts || fail hosts

printf '%s\n' "$machine" >/etc/machine-id || fail machine-id
if [ -f /var/lib/dbus/machine-id ] && [ ! -h /var/lib/dbus/machine-id ]; then
	printf '%s\n' "$machine" >/var/lib/dbus/machine-id || fail dbus-machine-id
fi
rm -rf /var/log/journal/* /run/log/journal/* || fail journal

if [ -d /etc/ssh ] && [ -x /usr/bin/ssh-keygen ]; then
	rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
	ssh-keygen -q -t ed25519 -N '' -C "root@$hostname" -f /etc/ssh/ssh_host_ed25519_key || fail ssh-keygen
	chmod 644 /etc/ssh/ssh_host_ed25519_key.pub
	read -r type key _ </etc/ssh/ssh_host_ed25519_key.pub && echo "host-key $type $key" || fail host-key
fi

cloud=/var/lib/cloud
if [ -n "$instance" ] && [ -d $cloud/instances ]; then
	was=$(readlink $cloud/instance)
	was=${was##*/}
	if [ -n "$was" ] && [ -d "$cloud/instances/$was" ]; then
		mv "$cloud/instances/$was" "$cloud/instances/$instance" && ln -sfn "$cloud/instances/$instance" $cloud/instance &&
			printf '%s\n' "$instance" >$cloud/data/instance-id || fail instance-id
	fi
fi

if [ -n "$keys" ]; then
	IFS=: read -r _ _ uid gid _ home _ <<END
$(grep "^$user:" /etc/passwd)
END
	[ -d "$home" ] && [ ! -h "$home/.ssh" ] || fail "user"
	mkdir -p "$home/.ssh" && printf %s "$keys" >>"$home/.ssh/authorized_keys" &&
		chown -R "$uid:$gid" "$home/.ssh" || fail keys
fi

# Programs that hold something of it in memory begin anew, all at once.
if [ -s $dir/units ]; then
	systemctl restart $(cat $dir/units) >/dev/null 2>&1 || fail "restart"
fi
read -r is </etc/machine-id && echo "machine-id $is"
read -r is </proc/sys/kernel/hostname && echo "hostname $is"
echo "done"
