"""A primary made of a recording: sends a checkpointed xl stream, such as `xl remus` writes, as a session of remusd's protocol.

Usage: python3 -m EndToEnd.replay FILE HOST:PORT [--epochs N] [--interval SECONDS] [--generation N] [--rename NAME] [--linger SECONDS]
It speaks protocol version 1 (docs/protocol.md) and stays, answering heartbeats, until it is killed. One line for each ack.
"""

import argparse
import json
import random
import select
import socket
import struct
import sys
import time

MAGIC = 0x44534D52
HELLO, WELCOME, REFUSE, DATA, EPOCH_END, ACK, HEARTBEAT, ECHO, PLANNED_END = 1, 2, 3, 4, 5, 6, 7, 8, 9
CUT = 256 * 1024


def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    # Eight bytes at a time: table[k][b] is b followed by k zero bytes.
    tables = [table]
    for _ in range(7):
        tables.append([table[value & 255] ^ value >> 8 for value in tables[-1]])
    return tables


TABLES = crc32c_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    t0, t1, t2, t3, t4, t5, t6, t7 = TABLES
    whole = len(data) // 8 * 8
    for low, high in struct.iter_unpack("<II", data[:whole]):
        low ^= crc
        crc = (
            t7[low & 255] ^ t6[low >> 8 & 255] ^ t5[low >> 16 & 255] ^ t4[low >> 24]
            ^ t3[high & 255] ^ t2[high >> 8 & 255] ^ t1[high >> 16 & 255] ^ t0[high >> 24]
        )
    for byte in data[whole:]:
        crc = t0[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Recording:
    """A checkpointed stream, cut after each CHECKPOINT_END (stream-v2: a CHECKPOINT hands over to libxl's records)."""

    def __init__(self, data, rename=None):
        (length,) = struct.unpack_from("<I", data, 44)
        (size,) = struct.unpack_from("<I", data, 48)
        self.config = data[52:52 + size].rstrip(b"\0")
        body = data[48 + length:]
        if rename:
            info = json.loads(self.config)
            info["c_info"]["name"] = rename
            self.config = json.dumps(info).encode()
        blob = self.config + b"\0"
        head = data[:44] + struct.pack("<II", 4 + len(blob), len(blob)) + blob
        self.info = json.loads(self.config)
        self.pv = self.info["c_info"]["type"] == "pv"
        self.highest = 0
        self.epochs, self.crcs = [], []
        # libxl's header, LIBXC_CONTEXT, libxc's image and domain headers.
        start, offset, libxl = 0, 16 + 8 + 24 + 16, False
        while offset < len(body):
            kind, count = struct.unpack_from("<II", body, offset)
            if kind == 1 and not libxl:
                (pages,) = struct.unpack_from("<I", body, offset + 8)
                for (entry,) in struct.iter_unpack("<Q", body[offset + 16:offset + 16 + 8 * pages]):
                    self.highest = max(self.highest, entry & (1 << 52) - 1)
            offset += 8 + (count + 7) // 8 * 8
            if libxl and kind == 4:
                self.epochs.append((head if not self.epochs else b"") + body[start:offset])
                start, libxl = offset, False
            elif not libxl and kind == 14:
                libxl = True
        self.pages = self.highest + 1


def text(value):
    value = value.encode()
    return struct.pack("<I", len(value)) + value


class Session:
    def __init__(self, recording, address, generation, alone_after=10, loud=False):
        self.loud = loud
        self.recording, self.number = recording, random.getrandbits(63) | 1
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        info = recording.info["c_info"]
        uuid = bytes.fromhex(info["uuid"].replace("-", ""))
        fields = struct.pack("<HH", 1, 1) + text(info["name"]) + struct.pack("<QQ", *struct.unpack(">QQ", uuid))
        fields += struct.pack("<IQ", 1 if recording.pv else 2, recording.pages) + text("")
        fields += struct.pack("<I", len(recording.config)) + recording.config
        fields += struct.pack("<QQQBQQQ", generation, self.number, 2**64 - 1, 0, recording.info["b_info"]["max_memkb"] // 4, 1 << 30, alone_after * 10**9)
        fields += text("recording") + text("recording") + struct.pack("<iQiQ", 0, 0, 0, 0) + text("")
        self.acked = None
        self.welcomed = False
        self.send(HELLO, fields)
        self.wait(lambda: self.welcomed)

    def send(self, kind, body=b"", epoch=0):
        head = struct.pack("<IHHIIQQ", MAGIC, kind, 0, len(body), 0, self.number, epoch)
        crc = crc32c(head if kind == DATA else head + body)
        self.socket.sendall(head[:12] + struct.pack("<I", crc) + head[16:] + body)

    def receive(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                sys.exit("replay: the standby closed the connection")
            data += piece
        return data

    def listen(self, seconds=0):
        """Takes what has come, and beats."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        head = self.receive(32)
        _, kind, _, length, _, _, epoch = struct.unpack("<IHHIIQQ", head)
        body = self.receive(length)
        if kind == WELCOME:
            self.welcomed = True
        elif kind == REFUSE:
            sys.exit("replay: refused: " + body[14:].decode())
        elif kind == ACK:
            self.acked = epoch
            if self.loud:
                print("ack %d" % epoch, flush=True)
        elif kind == HEARTBEAT:
            self.send(ECHO, body)

    def wait(self, condition):
        while not condition():
            self.listen(0.05)
            self.beat()

    def beat(self):
        now = time.monotonic_ns()
        if now - getattr(self, "beaten", 0) > 10**8 and self.welcomed:
            self.beaten = now
            self.beats = getattr(self, "beats", 0) + 1
            self.send(HEARTBEAT, struct.pack("<QQ", self.beats, now))

    def play(self, epochs, interval=0, checksums=None):
        for number, data in enumerate(self.recording.epochs[:epochs]):
            self.epoch(number, data, checksums[number] if checksums else crc32c(data))
            end = time.monotonic() + interval
            self.wait(lambda: time.monotonic() >= end)

    def epoch(self, number, data, crc):
        for start in range(0, len(data), CUT):
            self.send(DATA, data[start:start + CUT], number)
            self.listen()
            self.beat()
        self.send(EPOCH_END, struct.pack("<QQ", len(data), crc), number)
        self.wait(lambda: self.acked == number)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("file")
    parser.add_argument("address")
    parser.add_argument("--epochs", type=int, default=10**9)
    parser.add_argument("--interval", type=float, default=0)
    parser.add_argument("--generation", type=int, default=1)
    parser.add_argument("--rename")
    parser.add_argument("--linger", type=float, default=10**9)
    given = parser.parse_args()
    with open(given.file, "rb") as file:
        recording = Recording(file.read(), given.rename)
    epochs = recording.epochs[:given.epochs]
    checksums = [crc32c(epoch) for epoch in epochs]
    session = Session(recording, given.address, given.generation, loud=True)
    session.play(len(epochs), given.interval, checksums)
    end = time.monotonic() + given.linger
    session.wait(lambda: time.monotonic() >= end)


if __name__ == "__main__":
    main()
