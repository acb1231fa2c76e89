# How clade makes a guest that was resumed a machine of its own, before it has a
# network: sh -c "$(cat wake.sh)" clade-wake HANDS...
#
# Without KVM it costs a guest a twentieth of a second to start a program. So prepare.sh
# starts this one before the memory is saved, and in each clone it goes on where it
# waits: for orders through a named pipe. HANDS is the command that does what a shell
# cannot (hands.pl or hands.py); no other program is started but for keys of users.
#
# What it was resumed from, all its siblings were resumed from: their kernels would
# draw the same "random" numbers. So entropy comes first, and the kernel is forced to
# use it; what follows is drawn anew or told by clade. Orders are lines "key value":
#
#   entropy HEX       random bytes of the host
#   time SECONDS MICROSECONDS, since 1970
#   hostname NAME     machine-id ID     boot-id UUID     uuid UUID (of the firmware)
#   dmi OCTAL         the same UUID as printf's %b takes its bytes
#   host-key TYPE KEY of SSH, and "secret LINE" of its private part
#   instance-id ID    cloud-init's; what it did is done under this id
#   user NAME         and "key LINE": keys that may log in as this user
#   end
#
# The answer is lines "key value" too, filled up to 1024 bytes: draws of the kernel,
# what was made, and at last "done". It stops at the first thing that fails.
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin IFS=' '
export LC_ALL PATH
umask 077
dir=/run/clade
nl='
'
answer=
say() { answer=$answer$1$nl; }
# tell answers at once: the agent would take the first piece for all.
tell() {
	printf '%-1024.1024s' "$answer" >$dir/answer
	hand remove $dir/orders $dir/answer
	exit
}
fail() {
	answer=
	say "failed $1"
	tell
}
# hand has the hands do something; what they say is in said.
hand() {
	printf '%s\n' "$*" >&3 && read -r is said <&4 && [ "$is" = ok ]
}

"$@" <$dir/ask >$dir/told 2>/dev/null &
exec 3>$dir/ask 4<$dir/told
rm -f $dir/ask $dir/told
# What is done once is in memory when it is done again.
hand seed && hand random $dir/rehearsed && hand move $dir/rehearsed $dir/moved && hand link $dir/moved $dir/rehearsed || exit
rm -f $dir/moved $dir/rehearsed
: >$dir/ready

keys= secret= entropy= time= hostname= machine= boot= uuid= dmi= host= instance= user= end=
while read -r key value; do
	case $key in
	entropy) entropy=$value ;;
	time) time=$value ;;
	hostname) hostname=$value ;;
	machine-id) machine=$value ;;
	boot-id) boot=$value ;;
	uuid) uuid=$value ;;
	dmi) dmi=$value ;;
	host-key) host=$value ;;
	secret) secret=$secret$value$nl ;;
	instance-id) instance=$value ;;
	user) user=$value ;;
	key) keys=$keys$value$nl ;;
	end) end=$key && break ;;
	*) fail orders ;;
	esac
done <$dir/orders
[ -n "$end" ] || fail orders

hand seed $entropy && say "draw $said" || fail draw
read -r said </proc/sys/kernel/random/uuid && say "uuid $said" || fail uuid
[ ! -d /var/lib/systemd ] || hand random /var/lib/systemd/random-seed || fail random-seed
hand time $time || fail time

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

if [ -n "$host" ] && [ -x /usr/bin/ssh-keygen ]; then
	private=/etc/ssh/ssh_host_ed25519_key
	printf %s "$secret" >$private || fail host-key
	umask 022
	printf '%s\n' "$host root@$hostname" >$private.pub || fail host-key
	umask 077
	read -r type key _ <$private.pub && say "host-key $type $key" || fail host-key
fi
# sshd has the old keys in memory, and sees to this before any connection: there is no
# network yet.
if [ -s $dir/sshd ] && read -r pid <$dir/sshd; then
	kill -HUP "$pid" || fail sshd
fi

if [ -n "$instance" ] && [ -s $dir/instance ] && read -r was <$dir/instance; then
	cloud=/var/lib/cloud
	hand move "$was" $cloud/instances/$instance && hand link $cloud/instances/$instance $cloud/instance &&
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

read -r is </etc/machine-id && say "machine-id $is"
read -r is </proc/sys/kernel/hostname && say "hostname $is"
# The journal's server has the old id in memory, and stands still; systemd starts it
# again at once, with all that was logged meanwhile.
if [ -s $dir/journald ] && read -r pid <$dir/journald; then
	kill -KILL "$pid" || fail journald
fi
say "done"
tell
