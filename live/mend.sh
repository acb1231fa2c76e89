# How clade mends a running guest: it does the acts that it is given, in their order,
# and stops at the first that fails.
#
#   sh -c "$(cat mend.sh)" clade ROOT RUN <ACTS
#
# An act is a line: one letter, a name and a text, with "//" between the two. Acts
# come on standard input, since arguments can be seen by all users of the guest.
# Names are relative to ROOT and begin with "./". Names and texts are as printf's %b
# takes them, so that they may hold any byte; they are never part of a script or of its
# options. An act on a file goes to its directory first, and fails where a link leads
# there; so it can only hit a file in the place where it was seen.
#
#   m NAME // MODE          a directory, if there is none
#   l NAME // TARGET        a link
#   w NAME // MODE // TEXT  a file that holds the text; one that is there keeps its
#   a NAME // TEXT          owner and mode; and more of the text
#   r NAME //               removes it and all in it, unless something is mounted there
#   p GLOB // COMMAND       runs the command, if nothing matches
#   s // TEXT               mixes it into the kernel's random numbers
#   c // ID                 what cloud-init has done here is done for this instance-id
#   n // HOSTNAME           tells the kernel
#   u // UNIT               has the service take notice, if it runs
#   d //                    has the DHCP clients start again, and does not wait
#
# RUN, for tests, is put before the commands that act on more than files. The answer
# is "clade done COUNT". Nothing here stops a guest agent. Needed are chmod, ln,
# mkdir, mv, readlink, rm and sync, of GNU or busybox; timeout where it is there.
LC_ALL=C IFS='
'
export LC_ALL
set -f
umask 077
limit='timeout
300'
$limit true 2>/dev/null || limit=

cd -P -- "$1" || exit
top=${PWD%/} run=$2
mounts=$(while IFS=' ' read -r _ at _; do printf '%s\n' "$at"; done 2>/dev/null <"$top/proc/self/mounts")

fail() {
	printf 'clade failed %s\n' "${act%%//*}"
	exit 1
}

# decode sets decoded to what $1 stands for.
decode() {
	decoded=$1
	case $1 in *\\*)
		decoded=$(printf %b. "$1")
		decoded=${decoded%.}
		;;
	esac
}

# at goes to the directory of file $1, and sets base to its name there.
at() {
	dir=$top/${1#./}
	base=${dir##*/} dir=${dir%/*}
	cd -P -- "${dir:-/}" 2>/dev/null && [ "$PWD" = "${dir:-/}" ]
}

directory() {
	at "$1" || fail
	[ -d "./$base" ] || { mkdir "./$base" && chmod "$2" "./$base"; } || fail
}

link() {
	at "$1" || fail
	ln -s -- "$2" "./$base" || fail
}

write() {
	at "$1" && [ ! -h "./$base" ] || fail
	if [ -e "./$base" ]; then
		[ -f "./$base" ] && printf %b "$3" >"./$base" || fail
	else
		printf %b "$3" >"./$base" && chmod "$2" "./$base" || fail
	fi
}

append() {
	at "$1" && [ -f "./$base" ] && [ ! -h "./$base" ] && printf %b "$2" >>"./$base" || fail
}

remove() {
	at "$1" || { [ ! -e "${dir:-/}" ] && return; } || fail
	[ -h "./$base" ] || [ ! -d "./$base" ] || ! mounted "${1#.}" || fail
	rm -rf -- "./$base" || fail
}

# mounted reports whether something is mounted at $1 or below.
mounted() {
	for at in $mounts; do
		case $at in *\\*) at=$(printf %b "$at") ;; esac
		case $at/ in "$1"/*) return 0 ;; esac
	done
	return 1
}

# there reports whether a file matches $1.
there() {
	set +f
	for file in $top$1; do
		[ ! -e "$file" ] || { set -f; return 0; }
	done
	set -f
	return 1
}

# act_on runs a command. One that stays must not hold on to the agent's pipes.
act_on() {
	$limit $run "$@" </dev/null >/dev/null 2>&1
}

piece() {
	there "$1" || $limit $run sh -c "$2" </dev/null >/dev/null
}

mix() {
	[ ! -w "$top/dev/urandom" ] || printf %b "$1" >"$top/dev/urandom"
}

cloud_init() {
	cloud=$top/var/lib/cloud
	old=$(readlink "$cloud/instance")
	old=${old##*/}
	case $old in '' | . | ..) return ;; esac
	[ -d "$cloud/instances/$old" ] || return
	if [ "$old" != "$1" ]; then
		[ ! -e "$cloud/instances/$1" ] && mv -- "$cloud/instances/$old" "$cloud/instances/$1" || fail
		rm -f -- "$cloud/instance" && ln -s -- "/var/lib/cloud/instances/$1" "$cloud/instance" || fail
	fi
	printf '%s\n' "$1" >"$cloud/data/instance-id" || fail
}

hostname() {
	[ ! -w "$top/proc/sys/kernel/hostname" ] || printf %s "$1" >"$top/proc/sys/kernel/hostname" || fail
}

service() {
	if [ -d "$top/run/systemd/system" ]; then
		act_on systemctl try-reload-or-restart "$1"
	elif [ -x "$top/sbin/rc-service" ]; then
		act_on rc-service --ifstarted "${1%.service}" restart
	fi
}

dhcp() {
	if [ -d "$top/run/systemd/system" ]; then
		act_on systemctl --no-block try-restart systemd-networkd.service NetworkManager.service dhcpcd.service
		! there '/run/dhclient*.pid' || act_on systemctl --no-block try-restart networking.service
	elif [ -x "$top/sbin/rc-service" ]; then
		act_on rc-service --ifstarted networking restart &
	fi
}

count=0
while IFS= read -r act; do
	rest=${act#?}
	decode "${rest%%//*}"
	name=$decoded
	text=${rest#*//}
	case $act in
	m*) directory "$name" "$text" ;;
	l*) decode "$text" && link "$name" "$decoded" ;;
	w*) write "$name" "${text%%//*}" "${text#*//}" ;;
	a*) append "$name" "$text" ;;
	r*) remove "$name" ;;
	p*) decode "$text" && piece "$name" "$decoded" ;;
	s*) mix "$text" ;;
	c*) cloud_init "$text" ;;
	n*) hostname "$text" ;;
	u*) service "$text" ;;
	d*) dhcp ;;
	*) fail ;;
	esac
	count=$((count + 1))
done
cd -- "${top:-/}"
sync
echo "clade done $count"
