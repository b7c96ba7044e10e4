"""Works a plug over the interfaces of two guests that are none, in the network namespace it is started in, and checks what
gets out of their bridge, and when. It ends with an error at the first thing that is wrong.

Usage: plug-check.py DRIVER...    (DRIVER DOMAIN INTERFACE... makes a plug and takes orders: `remusd plug drive`)
"""

import json
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

EPOCHS = 1000
# IPv4, IPv6, ARP, LLDP, VLAN: everything is held, whatever it is.
TYPES = (0x0800, 0x86DD, 0x0806, 0x88CC, 0x8100)
MARK = b"PLUG"


def ip(*words):
    subprocess.run(["ip"] + list(words), check=True)


def packet_socket(name):
    each = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    each.bind((name, 3))
    return each


class Driver:
    """Whoever owns the plug now."""

    def __init__(self, command, interfaces):
        self.process = subprocess.Popen(
            command + ["999"] + interfaces, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.found = self.process.stdout.readline().strip()

    def order(self, text, expected="ok"):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer.startswith(expected), (text, answer)
        return answer

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


class Guest:
    """Sends numbered frames at its end of a pair whose other end is in the bridge."""

    def __init__(self, number):
        self.number, self.sent, self.heard = number, 0, []
        self.interface = "v%d" % number
        end = "g%d" % number
        ip("link", "add", self.interface, "type", "veth", "peer", "name", end)
        ip("link", "set", self.interface, "master", "plugbr")
        ip("link", "set", self.interface, "up")
        ip("link", "set", end, "up")
        self.socket = packet_socket(end)

    def send(self, count=1):
        for _ in range(count):
            kind = TYPES[self.sent % len(TYPES)]
            tag = b"\0\5\x08\0" if kind == 0x8100 else b""
            body = MARK + struct.pack("!BI", self.number, self.sent) + bytes(60)
            self.socket.send(b"\xff" * 6 + bytes([2, 0, 0, 0, 9, self.number]) + struct.pack("!H", kind) + tag + body)
            self.sent += 1


class Network:
    def __init__(self):
        ip("link", "add", "plugbr", "type", "bridge")
        ip("link", "set", "plugbr", "up")
        ip("link", "add", "up0", "type", "veth", "peer", "name", "far0")
        ip("link", "set", "up0", "master", "plugbr")
        ip("link", "set", "up0", "up")
        ip("link", "set", "far0", "up")
        self.guests = [Guest(0), Guest(1)]
        self.ear = packet_socket("far0")
        self.ear.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        time.sleep(2)

    def listen(self, seconds=0.0):
        end = time.monotonic() + seconds
        while select.select([self.ear], [], [], max(0, end - time.monotonic()))[0]:
            frame = self.ear.recv(65536)
            at = frame.find(MARK)
            if at >= 0:
                number, count = struct.unpack("!BI", frame[at + 4 : at + 9])
                self.guests[number].heard.append(count)

    def expect(self, *counts, seconds=15):
        """That the first so many frames of each guest have come out, in order, and none more."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(len(g.heard) < c for g, c in zip(self.guests, counts)):
            self.listen(0.02)
        self.listen(0.3)
        for guest, count in zip(self.guests, counts):
            assert guest.heard == list(range(count)), (guest.number, len(guest.heard), guest.heard[-5:], count)

    def expect_all(self):
        self.expect(*(guest.sent for guest in self.guests))

    def heard(self):
        return tuple(len(guest.heard) for guest in self.guests)


def survey(command, expected):
    """What `remusd plug` says of the devices that hold something."""
    shown = subprocess.run(command[:-1] + ["list", "--output", "json"], check=True, stdout=subprocess.PIPE).stdout
    found = [[each["interface"], each["state"]] for each in json.loads(shown) if each["held_bytes"]]
    assert found == expected, shown
    removed = subprocess.run(command[:-1] + ["clean"], check=True, stdout=subprocess.PIPE).stdout
    assert not removed, removed


def main(command):
    network = Network()
    first, second = network.guests
    names = [guest.interface for guest in network.guests]

    driver = Driver(command, names)
    assert driver.found == "ready open", driver.found
    first.send(20)
    second.send(20)
    network.expect_all()
    print("open: every ethertype passes")

    driver.order("cut 0")
    first.send(50)
    second.send(50)
    network.expect(20, 20, seconds=1)
    survey(command, [["v0", "closed"], ["v1", "closed"]])
    print("closed: IPv4, IPv6, ARP, LLDP, VLAN held, %s" % driver.order("held", "held"))
    driver.order("release 0")
    driver.order("cut 1")
    first.send(5)
    network.expect(20, 20, seconds=1)
    driver.order("release 1")
    network.expect(70, 70)
    print("released: epoch 1 went, the running one stays")

    begin = time.monotonic()
    last = (70, 70)
    for epoch in range(2, EPOCHS + 2):
        first.send(epoch % 7)
        second.send(epoch % 3)
        cut = (first.sent, second.sent)
        driver.order("cut %d" % epoch)
        first.send(1)
        network.listen()
        assert all(heard <= count for heard, count in zip(network.heard(), last)), (epoch, network.heard(), last)
        driver.order("release %d" % epoch)
        last = cut
    network.expect(*cut)
    took = time.monotonic() - begin
    print("%d epochs: %d frames, in order, none lost, none early, %.1f s" % (EPOCHS, sum(cut), took))

    driver.order("cut 5000")
    first.send(4)
    before = network.heard()
    driver.kill()
    first.send(3)
    second.send(3)
    network.listen(2)
    assert network.heard() == before, "a dead owner's plug has opened"
    print("owner killed: stays shut")

    driver = Driver(command, names)
    assert driver.found == "ready closed", driver.found
    driver.order("absorb")
    first.send(2)
    cut = (first.sent, second.sent)
    driver.order("cut 0")
    first.send(6)
    network.listen(1)
    assert network.heard() == before
    driver.order("release 0")
    network.expect(*cut)
    print("next owner: what was held goes with its first epoch, and no more")

    for _ in range(5):
        driver.order("cut 1")
        first.send(5)
        driver.kill()
        driver = Driver(command, names)
        assert driver.found == "ready closed", driver.found
        driver.order("absorb")
    driver.order("cut 0")
    driver.order("release 0")
    network.expect_all()
    print("five owners killed in a row: nothing lost")

    driver.order("cut 1")
    first.send(5)
    driver.order("open")
    first.send(5)
    network.expect_all()
    driver.order("cut 0")
    first.send(1)
    network.expect(first.sent - 1, second.sent, seconds=1)
    driver.order("release 0")
    driver.order("cut 1")
    driver.order("release 1")
    network.expect_all()
    print("opened, and closed again")

    # What is held and what comes meanwhile, as fast as it can be sent: nothing overtakes.
    for epoch in range(2, 12):
        driver.order("cut %d" % epoch)
        first.send(100)
        sender = threading.Thread(target=first.send, args=(400,))
        sender.start()
        driver.order("open")
        sender.join()
        driver.order("held", "held")
        first.send(20)
        network.expect_all()
    driver.order("cut 0")
    driver.order("release 0")
    print("opened under load, ten times: in order")

    sent = first.sent
    driver.order("cut 1")
    first.send(7)
    driver.order("drop")
    first.send(7)
    network.expect(sent, second.sent, seconds=1)
    assert driver.order("held", "held") == "held 0 dropped 14"
    first.sent = sent
    driver.order("open")
    first.send(5)
    network.expect_all()
    driver.end()
    shown = subprocess.run("ip -br link; tc qdisc", shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "rmd" not in shown and "ingress" not in shown, shown
    print("dropped, opened, ended: nothing is left")


main(sys.argv[1:])
