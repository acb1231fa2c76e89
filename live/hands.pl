# What wake.sh cannot do itself, for guests with perl: lines "verb words" on standard
# input; each is answered by "ok", and what was asked for, or by "failed".
use strict;
use warnings;
$| = 1;

sub drawn {
	my ($count) = @_;
	open(my $from, '<:raw', '/dev/urandom') or die;
	sysread($from, my $bytes, $count) == $count or die;
	return $bytes;
}

my %verbs = (
	# seed HEX credits entropy (RNDADDENTROPY) and has the generators of all processors
	# begin anew with it (RNDRESEEDCRNG), then draws. Writing to /dev/urandom does neither.
	seed => sub {
		if (my $seed = pack('H*', shift // '')) {
			open(my $pool, '+<', '/dev/random') or die;
			ioctl($pool, 0x40085203, pack('iia*', 8 * length $seed, length $seed, $seed)) or die;
			ioctl($pool, 0x5207, 0) or die;
		}
		return unpack('H*', drawn(32));
	},
	random => sub { # FILE
		open(my $to, '>:raw', $_[0]) or die;
		syswrite($to, drawn(512)) == 512 or die;
	},
	time => sub { # SECONDS MICROSECONDS: settimeofday
		syscall(164, pack('qq', @_), 0) == 0 or die;
	},
	move => sub { rename($_[0], $_[1]) or die }, # FROM TO
	link => sub { # TARGET NAME
		unlink $_[1];
		symlink($_[0], $_[1]) or die;
	},
	remove => sub { unlink @_ }, # NAMES
);
while (my $line = <STDIN>) {
	my ($verb, @words) = split(' ', $line);
	my $said = eval { $verbs{$verb}->(@words) };
	print defined $said ? "ok $said\n" : "failed\n";
}
