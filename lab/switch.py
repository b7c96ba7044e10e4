"""The network between the hosts: a program that hands frames on between QEMUs, and to a client on this machine.

Usage: switch.py DIRECTORY (started by xenlab; `links.py` talks to it)

Each link is a segment. A host's port is a pair of unix datagram sockets in DIRECTORY: PORT.vm is QEMU's, PORT.sw is ours;
a QEMU that is started again binds its own anew and is simply there. The client's port is a tap device in this process's
own network namespace, which is gone when the process is. As a real switch it learns where an address is, so that a guest
that has moved is reached once it announces itself. Cut, one-way cut and a slow link happen here, where no host notices
anything but silence.

It answers on DIRECTORY/switch.control, one JSON object a connection: {"link": L, "cut": [PORT...], "slow": BITS_PER_SECOND
or null}; what a port in "cut" sends is dropped. Without "cut" and "slow" it only reports.
"""

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque

import plan

LARGEST_FRAME = 65536 + 64
# What a port holds while its receiver is busy, and what a slow link's sender may have under way: then it drops, as a switch does.
QUEUE_BYTES = 4 << 20
SLOW_QUEUE_SECONDS = 0.2
CLONE_NEWNET = 0x40000000  # sched.h
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
RETRY_SECONDS = 0.001


class Port:
    """One end of a segment; frames wait in it while its receiver is not ready."""

    def __init__(self, name):
        self.name = name
        self.queue = deque()
        self.queued = 0
        self.ready_at = 0.0  # A slow link's: when the last frame will have left.
        self.blocked_until = 0.0
        self.frames = self.dropped = 0

    def push(self, frame, rate, now):
        limit = QUEUE_BYTES
        due = now
        if rate:
            due = max(self.ready_at, now) + len(frame) * 8 / rate
            if due - now > SLOW_QUEUE_SECONDS + len(frame) * 8 / rate:
                self.dropped += 1
                return
            self.ready_at = due
        if self.queued + len(frame) > limit:
            self.dropped += 1
            return
        self.queue.append((due, frame))
        self.queued += len(frame)

    def flush(self, now):
        """Sends what is due; when to come back, or None."""
        if now < self.blocked_until:
            return self.blocked_until
        while self.queue:
            due, frame = self.queue[0]
            if due > now:
                return due
            try:
                self.send(frame)
                self.frames += 1
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    self.blocked_until = now + RETRY_SECONDS
                    return self.blocked_until
                self.dropped += 1  # Nobody there: a host without power.
            self.queue.popleft()
            self.queued -= len(frame)
        return None


class HostPort(Port):
    def __init__(self, directory, link, host):
        super().__init__(host)
        path = os.path.join(directory, "%s-%s" % (host, link))
        self.there = path + ".vm"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if os.path.exists(path + ".sw"):
            os.unlink(path + ".sw")
        self.socket.bind(path + ".sw")
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def fileno(self):
        return self.socket.fileno()

    def send(self, frame):
        self.socket.sendto(frame, self.there)

    def receive(self):
        return self.socket.recv(LARGEST_FRAME)


class ClientPort(Port):
    """A tap device with the client's address."""

    def __init__(self):
        super().__init__(plan.CLIENT)
        self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self.tap, TUNSETIFF, struct.pack("16sH22x", b"lab0", IFF_TAP | IFF_NO_PI))
        address = "%s/%d" % (plan.BRIDGE_ADDRESS[plan.CLIENT], plan.PREFIX)
        for words in ("addr add %s dev lab0" % address, "link set lo up", "link set lab0 up"):
            subprocess.run(["ip"] + words.split(), check=True)

    def fileno(self):
        return self.tap

    def send(self, frame):
        os.write(self.tap, frame)

    def receive(self):
        return os.read(self.tap, LARGEST_FRAME)


class Segment:
    def __init__(self, ports):
        self.ports = ports
        self.learnt = {}
        self.cut = set()
        self.rate = None

    def arrived(self, port, frame, now):
        if port.name in self.cut:
            port.dropped += 1
            return
        to, sender = frame[:6], frame[6:12]
        self.learnt[sender] = port
        known = None if to[0] & 1 else self.learnt.get(to)
        for other in self.ports:
            if other is not port and (known is None or known is other):
                other.push(frame, self.rate, now)

    def order(self, wish):
        """Carries out a request; what the segment is like then."""
        if "cut" in wish:
            self.cut = set(wish["cut"])
        if "slow" in wish:
            self.rate = wish["slow"]
            for port in self.ports:
                port.ready_at = 0.0
        return {
            "cut": sorted(self.cut),
            "slow": self.rate,
            "ports": {port.name: {"out": port.frames, "dropped": port.dropped} for port in self.ports},
        }


def serve(directory):
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace of its own: needs root")
    segments = {
        link: Segment([HostPort(directory, link, host) for host in plan.HOST_NAMES]) for link in plan.LINKS
    }
    segments[plan.BRIDGE].ports.append(ClientPort())
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = os.path.join(directory, "switch.control")
    if os.path.exists(path):
        os.unlink(path)
    poll = select.poll()
    owners = {}
    for segment in segments.values():
        for port in segment.ports:
            owners[port.fileno()] = (segment, port)
            poll.register(port, select.POLLIN)
    control.bind(path + ".new")
    control.listen(8)
    os.rename(path + ".new", path)  # From here on it is known to be ready.
    poll.register(control, select.POLLIN)
    everyone = [port for _, port in owners.values()]
    wait = None
    while True:
        events = poll.poll(wait)
        now = time.monotonic()
        for descriptor, _ in events:
            if descriptor == control.fileno():
                answer(control, segments)
                continue
            segment, port = owners[descriptor]
            # A bounded burst, so that no port keeps the others waiting.
            for _ in range(64):
                try:
                    frame = port.receive()
                except BlockingIOError:
                    break
                if len(frame) >= 14:
                    segment.arrived(port, frame, now)
        times = [at for at in (port.flush(now) for port in everyone if port.queue) if at is not None]
        wait = max(0, min(times) - now) * 1000 if times else None


def answer(control, segments):
    asker, _ = control.accept()
    with asker:
        asker.settimeout(1)
        try:
            wish = json.loads(asker.recv(65536))
            reply = segments[wish["link"]].order(wish)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reply = {"error": str(error)}
        try:
            asker.send(json.dumps(reply).encode())
        except OSError:
            pass  # The asker is gone.


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.argv[1])
