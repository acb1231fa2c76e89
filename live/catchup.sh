# How clade has a guest that goes on from a snapshot catch up: sh -c "$(cat catchup.sh)"
# clade-catch-up <ORDERS, two lines: the time in seconds since 1970, and random bytes of
# the host in hex. A guest that goes on twice from one memory would draw the same
# numbers twice. The answer is "done".
LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
read -r time && read -r entropy || exit 1
date -u -s "@$time" >/dev/null || { echo "failed time"; exit 1; }
# RNDADDENTROPY and RNDRESEEDCRNG where there is what can call them; else it is mixed in.
if [ -x /usr/bin/perl ]; then
	printf '%s\n' "$entropy" | perl -e '
		my $seed = pack("H*", <STDIN> =~ s/\s//gr);
		open(my $r, "+<", "/dev/random") or die "open: $!\n";
		ioctl($r, 0x40085203, pack("iia*", 8 * length $seed, length $seed, $seed)) or die "add: $!\n";
		ioctl($r, 0x5207, 0) or die "reseed: $!\n"' || { echo "failed entropy"; exit 1; }
elif [ -x /usr/bin/python3 ]; then
	printf '%s\n' "$entropy" | python3 -c '
import fcntl, struct, sys
seed = bytes.fromhex(sys.stdin.read().strip())
with open("/dev/random", "wb", buffering=0) as r:
    fcntl.ioctl(r, 0x40085203, struct.pack("ii", 8 * len(seed), len(seed)) + seed)
    fcntl.ioctl(r, 0x5207)' || { echo "failed entropy"; exit 1; }
else
	printf '%s' "$entropy" >/dev/urandom
fi
echo "done"
