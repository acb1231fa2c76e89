# What clade reads in a running guest. Nothing is written, and no file is opened
# but regular ones.
#
#   sh -c "$(cat read.sh)" clade ROOT HOW WORD NAME...
#
# Each NAME is relative to ROOT and begins with "./", or is ".". Names are arguments:
# whatever bytes they hold, they are never part of a script or of its options. One
# that is not there, or that a link leads to, is passed over; clade follows links by
# itself.
#
# The answer:
#   clade COUNT                          how many names arrived
#   NAME\0...\0\0                        those that are looked at
#   MODE SIZE TIME DEVICE NAME//         a line for each name and, of directories, for
#   ...                                  each entry: no path holds "//", so it ends one
#   //
#   NAME\0...\0\0                        the names of the lines again: one without a
#                                        line is there, but nothing is known of it
#   HOW=whole: a tar of the links and of the regular files of up to 1 MiB
#   HOW=begin: the first 1 MiB and one byte of one regular file
#   clade end WORD COUNT                 how many names were looked at
#
# WORD is drawn for each question: no file holds it, so that no answer that was cut ends
# in it.
#
# It is cut at 6 MiB, which is less than a guest agent would cut it at. Needed are
# find, stat, tar and head, of GNU or busybox; timeout where it is there.
LC_ALL=C
export LC_ALL
unset TAR_OPTIONS

for tool in find stat tar head; do
	command -v "$tool" >/dev/null || { echo "clade needs $tool"; exit; }
done
limit='timeout 60' plain=--no-unquote
$limit true 2>/dev/null || limit=
tar $plain --version >/dev/null 2>&1 || plain=

cd -P -- "$1" || exit
top=${PWD%/} how=$2 word=$3
shift 3
count=$#
for name do
	shift
	dir=$top/${name#./}
	dir=${dir%/*}
	cd -P -- "${dir:-/}" 2>/dev/null && [ "$PWD" = "${dir:-/}" ] || continue
	[ ! -e "./${name##*/}" ] && [ ! -h "./${name##*/}" ] || set -- "$@" "$name"
done
cd -- "${top:-/}" || exit

# look runs find on the names that are left; it may find some gone.
look() {
	$limit find "$@"
	[ $? -le 1 ]
}

answer() {
	echo "clade $count"
	[ $# -eq 0 ] || printf '%s\0' "$@"
	printf '\0'
	[ $# -eq 0 ] || look "$@" -maxdepth 1 -exec stat -c '%f %s %Y %d %n//' {} + || return
	echo //
	[ $# -eq 0 ] || look "$@" -maxdepth 1 -print0 || return
	printf '\0'
	case $#$how in
	0*) ;;
	*whole) look "$@" -maxdepth 0 \( -type l -o -type f -size -1048577c \) -exec tar -cf - $plain --no-recursion {} + || return ;;
	1begin) look "$@" -maxdepth 0 -type f -exec head -c 1048577 {} \; || return ;;
	esac
	printf '\nclade end %s %d\n' "$word" $#
}

answer "$@" | head -c 6291456
