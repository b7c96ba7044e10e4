"""Watches a guest from outside: every frame that it sends over the guests' link, of whatever kind, and whether all of them
can belong to one history. What somebody has seen must be in the past of every copy that speaks later (design, R1 and R2):

- the numbers of guest/beacon.c, in each kind of packet, only ever rise;
- a byte of a TCP stream is the same each time it is sent, and what the guest has acknowledged stays acknowledged.

A number that never comes was lost on the wire, as what is held is when a host loses power; that is allowed."""

import socket
import struct
import threading
import time

from failure import LabError

MARK = b"rmBEACON"
ETH_P_ALL = 0x0003  # linux/if_ether.h
SOL_PACKET, PACKET_AUXDATA = 263, 8  # linux/if_packet.h
TP_STATUS_VLAN_VALID = 1 << 4
IPV4, ARP, VLAN, IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
# Each kind that a guest of the lab sends without being asked, and TCP, which its clients ask for.
KINDS = ("IPv4/UDP", "IPv6/UDP", "ARP", "unknown type", "VLAN")


class Watcher(threading.Thread):
    """Watches from its making until `stop`. `seen` counts what was checked, by kind."""

    def __init__(self, lab, guest):
        super().__init__(daemon=True)
        self.name_of_guest = guest.name
        self.mac = bytes.fromhex(guest.plan.mac.replace(":", ""))
        with lab.links.client():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.settimeout(0.5)
        self.history = History()
        self.ending = threading.Event()

    def run(self):
        while not self.ending.is_set():
            try:
                frame, more, _, (_, _, direction, _, _) = self.socket.recvmsg(65536, 256)
            except TimeoutError:
                continue
            if frame[6:12] == self.mac and direction != socket.PACKET_OUTGOING:
                self.history.frame(frame, tagged(more))

    @property
    def seen(self):
        return dict(self.history.seen)

    def check(self):
        if self.history.broken:
            raise LabError("%s: two histories were seen: %s" % (self.name_of_guest, self.history.broken))

    def wait_seen(self, more, seconds=120):
        """Until so many more packets of each kind have been seen, all in one history."""
        goal, until = {kind: self.seen.get(kind, 0) + more for kind in KINDS}, time.monotonic() + seconds
        while True:
            self.check()
            late = [kind for kind in KINDS if self.seen.get(kind, 0) < goal[kind]]
            if not late:
                return
            if time.monotonic() > until:
                raise LabError("%s: nothing seen of %s within %d s" % (self.name_of_guest, ", ".join(late), seconds))
            time.sleep(0.1)

    def close(self):
        self.ending.set()
        self.join(10)
        self.socket.close()

    def stop(self):
        """Ends it; raises if two histories were seen. What was seen, by kind."""
        self.close()
        self.check()
        return self.seen


def tagged(ancillary):
    """Whether the kernel took a VLAN tag off the frame (packet(7), PACKET_AUXDATA)."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            return bool(struct.unpack_from("=I", data)[0] & TP_STATUS_VLAN_VALID)
    return False


class History:
    """What was seen of one guest so far. `broken` says what cannot be in one history."""

    # A TCP stream's bytes are compared as far back as this; what is sent again is newer.
    REMEMBERED = 1 << 20

    def __init__(self):
        self.numbers = {}
        self.streams = {}
        self.seen = {}
        self.broken = None

    def frame(self, frame, tag=False):
        kind, = struct.unpack_from("!H", frame, 12)
        body = frame[14:]
        if kind == VLAN:
            tag = True
            kind, = struct.unpack_from("!H", frame, 16)
            body = frame[18:]
        if kind == IPV4 and len(body) >= 20:
            length = (body[0] & 15) * 4
            # What follows the packet is padding of the frame.
            body = body[: struct.unpack_from("!H", body, 2)[0]]
            self.packet(body[9], body[12:20], body[length:], "IPv4")
        elif kind == IPV6 and len(body) >= 40:
            self.packet(body[6], body[8:40], body[40 : 40 + struct.unpack_from("!H", body, 4)[0]], "IPv6")
        elif MARK in body:
            self.number("VLAN" if tag else "ARP" if kind == ARP else "unknown type", body)

    def packet(self, protocol, addresses, body, version):
        if protocol == socket.IPPROTO_TCP and len(body) >= 20:
            self.segment(addresses, body, version)
        elif protocol == socket.IPPROTO_UDP and MARK in body:
            self.number(version + "/UDP", body)

    def count(self, kind):
        self.seen[kind] = self.seen.get(kind, 0) + 1

    def number(self, kind, body):
        at = body.index(MARK) + len(MARK)
        number, = struct.unpack_from("!Q", body, at)
        before = self.numbers.get(kind, 0)
        if number <= before:
            self.broken = self.broken or "%s: number %d after %d" % (kind, number, before)
        self.numbers[kind] = max(before, number)
        self.count(kind)

    def segment(self, addresses, body, version):
        """One segment of a connection (RFC 9293, section 3.1)."""
        source, target, sequence, acknowledged, offset, flags = struct.unpack_from("!HHIIBB", body)
        data = body[(offset >> 4) * 4 :]
        key = (addresses, source, target)
        if flags & 0x02:  # SYN: a new connection.
            self.streams[key] = Stream(sequence + 1)
        stream = self.streams.setdefault(key, Stream(sequence))
        wrong = stream.take(sequence, data, acknowledged if flags & 0x10 else None, self.REMEMBERED)
        if wrong:
            self.broken = self.broken or "%s/TCP from port %d: %s" % (version, source, wrong)
        self.count(version + "/TCP")


class Stream:
    """The bytes that a guest sent on one connection, and what it acknowledged."""

    def __init__(self, start):
        self.start = start & 0xFFFFFFFF  # The sequence number of the first byte that is remembered.
        self.bytes = bytearray()
        self.acknowledged = None

    def take(self, sequence, data, acknowledged, remembered):
        """Adds a segment; what is wrong with it, or None."""
        if acknowledged is not None:
            if self.acknowledged is not None and distance(self.acknowledged, acknowledged) < 0:
                return "it takes back an acknowledgement, of %d bytes" % distance(acknowledged, self.acknowledged)
            self.acknowledged = acknowledged
        at = distance(self.start, sequence)
        if at < 0:
            data, at = data[-at:], 0
        known = bytes(self.bytes[at : at + len(data)])
        if known != data[: len(known)]:
            return "it sends other bytes than it sent before, from %d on" % at
        if at > len(self.bytes):  # Something in between was not seen: what comes is remembered from here.
            self.start, self.bytes = sequence, bytearray(data)
        else:
            self.bytes += data[len(known) :]
        if len(self.bytes) > 2 * remembered:
            gone = len(self.bytes) - remembered
            del self.bytes[:gone]
            self.start = (self.start + gone) & 0xFFFFFFFF
        return None


def distance(before, after):
    """From one sequence number to another, both of 32 bits that wrap."""
    return (after - before + (1 << 31)) % (1 << 32) - (1 << 31)
