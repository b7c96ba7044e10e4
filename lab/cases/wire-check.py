"""Watches an interface for words that whoever listens on the way could read. Run in a host; it ends when it is told to (SIGTERM).

Usage: wire-check.py INTERFACE WORD...
It says that it is `watching`, and at its end, in one line: the frames and the bytes that it saw, the frames that it missed, and for
each word in how many frames it was.
"""

import signal
import socket
import struct
import sys

ETH_P_ALL = 0x0003  # linux/if_ether.h
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
SOL_PACKET, PACKET_STATISTICS = 263, 6  # linux/if_packet.h
LARGEST = 1 << 18  # The kernel may have put several frames together.


def main(interface, words):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    link.bind((interface, ETH_P_ALL))
    wanted = [word.encode() for word in words]
    found = [0] * len(wanted)
    frames = size = 0

    def end(number, frame):
        _, missed = struct.unpack("=II", link.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        print(frames, size, missed, *found, flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print("watching", flush=True)
    while True:
        data = link.recv(LARGEST)
        frames += 1
        size += len(data)
        for place, word in enumerate(wanted):
            found[place] += word in data


main(sys.argv[1], sys.argv[2:])
