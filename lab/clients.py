"""Clients of a guest, each on one TCP connection that it never renews, each checking all that it is told."""

import contextlib
import socket
import threading
import time

import plan
from failure import LabError


class Client(threading.Thread):
    """Works until it is stopped. `failure` says what went wrong, `told` counts what the guest has confirmed."""

    def __init__(self, lab, guest, port):
        super().__init__(daemon=True)
        self.guest = guest
        self.stream = lab.links.connect(guest.plan.address, port, timeout=30)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream.settimeout(120)  # A guest may be away for as long as a failover takes, and no longer.
        self.reader = self.stream.makefile("rb")
        self.failure = None
        self.told = 0
        self.longest_silence = 0.0
        self.heard = time.monotonic()
        self.ending = threading.Event()

    def run(self):
        self.heard = time.monotonic()
        try:
            while not self.ending.is_set():
                self.step()
                now = time.monotonic()
                self.longest_silence = max(self.longest_silence, now - self.heard)
                self.heard = now
        except (OSError, ValueError, LabError) as error:
            if not self.ending.is_set():
                self.failure = "%s: after %d: %s" % (type(self).__name__, self.told, error or type(error).__name__)

    def wait_told(self, more, seconds=60):
        """Until it has been told so many more things."""
        goal, until = self.told + more, time.monotonic() + seconds
        while self.told < goal:
            self.check()
            if time.monotonic() > until:
                raise LabError("%s: told only %d of %d more within %d s" % (self.guest.name, self.told - goal + more, more, seconds))
            time.sleep(0.05)

    def check(self):
        if self.failure:
            raise LabError("%s: %s" % (self.guest.name, self.failure))

    def stop(self):
        """Ends it; raises if anything was wrong. How much it was told."""
        self.ending.set()
        self.join(15)
        if self.is_alive():
            self.failure = self.failure or "%s: no answer at its end" % type(self).__name__
        try:
            self.check()
            self.finish()
        finally:
            self.close()
        return self.told

    def close(self):
        """The connection's end. A socket lives for as long as a reader made of it, and the guest goes on serving it."""
        self.ending.set()
        with contextlib.suppress(OSError):
            self.stream.shutdown(socket.SHUT_RDWR)  # Or closing the reader would wait for a thread that reads.
        self.reader.close()
        self.stream.close()

    def finish(self):
        """What is left to check at the end."""

    def line(self):
        line = self.reader.readline()
        if not line.endswith(b"\n"):
            raise LabError("the connection ended")
        return line.rstrip(b"\r\n")


class SequenceClient(Client):
    """Reads the guest's rising numbers: one missing or twice means two histories."""

    def __init__(self, lab, guest):
        super().__init__(lab, guest, plan.SEQUENCE_PORT)

    def step(self):
        number = int(self.line())
        if number != self.told + 1:
            raise LabError("%d came after %d" % (number, self.told))
        self.told = number


class RedisClient(Client):
    """Counts up and stores, one request after the other; at its end every key is read back."""

    KEYS = 200

    def __init__(self, lab, guest):
        super().__init__(lab, guest, plan.REDIS_PORT)
        self.stored = {}
        self.command("FLUSHALL")

    def command(self, *words):
        """One request and its answer (redis.io/docs/reference/protocol-spec: RESP2)."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.stream.sendall(b"".join(parts))
        line = self.line()
        kind, text = line[:1], line[1:]
        if kind == b"$":
            length = int(text)
            return None if length < 0 else self.reader.read(length + 2)[:-2].decode()
        if kind == b":":
            return int(text)
        if kind == b"+":
            return text.decode()
        raise LabError("redis says %s" % line.decode("utf-8", "replace"))

    def step(self):
        count = self.command("INCR", "count")
        if count != self.told + 1:
            raise LabError("the counter says %d after %d" % (count, self.told))
        self.told = count
        key, value = "key%d" % (count % self.KEYS), "value%d" % count
        self.command("SET", key, value)
        self.stored[key] = value
        if self.command("GET", key) != value:
            raise LabError("%s is not what was stored" % key)

    def finish(self):
        self.stream.settimeout(30)
        for key, value in self.stored.items():
            found = self.command("GET", key)
            if found != value:
                raise LabError("%s: %s is %s at the end, it was told %s" % (self.guest.name, key, found, value))
