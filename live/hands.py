# What wake.sh cannot do itself, for guests without perl: lines "verb words" on standard
# input; each is answered by "ok", and what was asked for, or by "failed".
import fcntl
import os
import struct
import sys
import time


def seed(text=""):
    # Credits entropy (RNDADDENTROPY) and has the generators of all processors begin
    # anew with it (RNDRESEEDCRNG), then draws. Writing to /dev/urandom does neither.
    data = bytes.fromhex(text)
    if data:
        with open("/dev/random", "wb", buffering=0) as pool:
            fcntl.ioctl(pool, 0x40085203, struct.pack("ii", 8 * len(data), len(data)) + data)
            fcntl.ioctl(pool, 0x5207)
    return os.urandom(32).hex()


def random(name):
    with open(name, "wb", buffering=0) as to:
        to.write(os.urandom(512))


def clock(seconds, microseconds):
    time.clock_settime_ns(time.CLOCK_REALTIME, (int(seconds) * 1000000 + int(microseconds)) * 1000)


def link(target, name):
    if os.path.lexists(name):
        os.unlink(name)
    os.symlink(target, name)


def remove(*names):
    for name in names:
        os.unlink(name)


verbs = {"seed": seed, "random": random, "time": clock, "move": os.rename, "link": link, "remove": remove}
for line in sys.stdin:
    verb, *words = line.split()
    try:
        print("ok", verbs[verb](*words) or "", flush=True)
    except Exception:
        print("failed", flush=True)
