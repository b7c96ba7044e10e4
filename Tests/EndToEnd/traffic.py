"""For scripts/e2e. Clients that write all the time, and remember what they were told."""

import random
import select
import socket
import threading
import time

from .rig import Failure, check, until

COUNTERS = 4


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def request(*parts):
    text = "*%d\r\n" % len(parts)
    for part in parts:
        text += "$%d\r\n%s\r\n" % (len(part), part)
    return text.encode()


class Connection:
    """One connection; answers are bytes, ints, None or, for an error, an Exception."""

    def __init__(self, address):
        # From an address of its own: a client that tries a free local port often enough would get that very port and
        # connect to itself.
        self.socket = socket.create_connection(split(address), timeout=1, source_address=("127.0.0.2", 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.settimeout(10)
        self.socket.sendall(data)

    def receive(self, seconds):
        """The whole answers that come within a time; raises OSError at the end of the connection."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return []
        data = self.socket.recv(1 << 16)
        if not data:
            raise OSError("closed")
        self.buffer += data
        answers = []
        position = 0
        while True:
            end = self.buffer.find(b"\r\n", position)
            if end < 0:
                break
            kind, text = self.buffer[position:position + 1], self.buffer[position + 1:end]
            after = end + 2
            if kind == b"$" and text != b"-1":
                count = int(text)
                if len(self.buffer) < after + count + 2:
                    break
                answers.append(self.buffer[after:after + count])
                position = after + count + 2
                continue
            answers.append({b"+": lambda: text, b":": lambda: int(text), b"$": lambda: None}.get(kind, lambda: Failure(text))())
            position = after
        self.buffer = self.buffer[position:]
        return answers

    def ask(self, *parts):
        return self.ask_all([parts])[0]

    def ask_all(self, requests, seconds=20):
        """Asks all, a few hundred at a time."""
        answers = []
        end = time.monotonic() + seconds
        for start in range(0, len(requests), 256):
            batch = requests[start:start + 256]
            self.send(b"".join(request(*parts) for parts in batch))
            wanted = len(answers) + len(batch)
            while len(answers) < wanted:
                if time.monotonic() > end:
                    raise Failure("the guest does not answer")
                answers += self.receive(0.1)
        return answers


class Client(threading.Thread):
    """One connection's worth of writes: SET of keys of its own, INCR of counters that all share."""

    def __init__(self, traffic, number):
        super().__init__(daemon=True)
        self.traffic, self.number = traffic, number
        self.random = random.Random("%s/%d" % (traffic.seed, number))
        self.acknowledged = []
        self.increments = [0] * COUNTERS
        self.told = [[] for _ in range(COUNTERS)]
        self.problems = []

    def key(self, n):
        return "k%d:%d" % (self.number, n)

    def value(self, n):
        return ("%s-%d-%d-" % (self.traffic.seed, self.number, n)) * (1 + n % 5)

    def run(self):
        while self.traffic.order == "write":
            try:
                connection = Connection(self.traffic.address)
            except OSError:
                time.sleep(0.005)
                continue
            try:
                self.converse(connection)
            except OSError:
                pass
            finally:
                connection.close()

    def converse(self, connection):
        due = []
        while True:
            order = self.traffic.order
            if order == "abort" or order == "finish" and not due:
                return
            if order == "write" and len(due) < 16:
                data = b""
                while len(due) < 16:
                    data += self.next(due)
                connection.send(data)
            answers = connection.receive(0.02)
            for answer in answers:
                self.note(due.pop(0), answer)
            self.traffic.answers += len(answers)
            # Unprotected, a guest answers faster than is of use here.
            time.sleep(0.002)

    def next(self, due):
        if self.random.random() < 0.3:
            counter = self.random.randrange(COUNTERS)
            self.increments[counter] += 1
            due.append(("INCR", counter))
            return request("INCR", "c%d" % counter)
        n = len(self.acknowledged)
        self.acknowledged.append(False)
        due.append(("SET", n))
        return request("SET", self.key(n), self.value(n))

    def note(self, asked, answer):
        what, n = asked
        if what == "SET" and answer == b"OK":
            self.acknowledged[n] = True
        elif what == "INCR" and isinstance(answer, int):
            if self.told[n] and answer <= self.told[n][-1]:
                self.problems.append("c%d answered %d after %d" % (n, answer, self.told[n][-1]))
            self.told[n].append(answer)
        else:
            self.problems.append("%s was answered %r" % (asked, answer))


class Traffic:
    """Some clients of one guest."""

    def __init__(self, address, seed, clients=3):
        self.address, self.seed = address, seed
        self.order = "write"
        self.answers = 0
        self.clients = [Client(self, number) for number in range(clients)]
        for client in self.clients:
            client.start()

    def flows(self, seconds=10):
        """Waits for answers."""
        before = self.answers
        until("answers of the guest", seconds, lambda: self.answers > before + 100)

    def finish(self):
        self.order = "finish"
        for client in self.clients:
            client.join(20)
        self.abort()

    def abort(self):
        self.order = "abort"
        for client in self.clients:
            client.join(5)

    def audit(self, address=None):
        """Ends the writing and raises a Failure for anything lost; gives the number of acknowledged writes."""
        if address:
            self.address = address
        self.finish()
        connection = Connection(self.address)
        lost, problems = 0, []
        for client in self.clients:
            problems += client.problems
            count = len(client.acknowledged)
            found = connection.ask_all([("GET", client.key(n)) for n in range(count)])
            for n, value in enumerate(found):
                right = value == client.value(n).encode()
                if client.acknowledged[n] and not right:
                    lost += 1
                elif value is not None and not right:
                    problems.append("%s has a value never sent" % client.key(n))
        for counter in range(COUNTERS):
            value = int(connection.ask("GET", "c%d" % counter) or 0)
            told = sorted(answer for client in self.clients for answer in client.told[counter])
            sent = sum(client.increments[counter] for client in self.clients)
            lost += max(0, (told[-1] if told else 0) - value) + sum(a == b for a, b in zip(told, told[1:]))
            if value > sent:
                problems.append("c%d is %d, past %d" % (counter, value, sent))
        connection.close()
        if lost or problems:
            raise Failure("LOST %d %s" % (lost, problems[:5]))
        return sum(sum(client.acknowledged) + sum(map(len, client.told)) for client in self.clients)


class Filling:
    """Big values, written once and looked at in the end: they make a guest's memory worth sending."""

    def __init__(self, address, count):
        self.count = count
        connection = Connection(address)
        for start in range(0, count, 16):
            batch = range(start, min(start + 16, count))
            check(connection.ask_all([("SET", "fill:%d" % n, self.value(n)) for n in batch]) == [b"OK"] * len(batch), "it fits")
        connection.close()

    def value(self, n):
        return ("%08d" % n) * 8192

    def check(self, address):
        connection = Connection(address)
        for n in range(self.count):
            check(connection.ask("GET", "fill:%d" % n) == self.value(n).encode(), "fill:%d is what it was" % n)
        connection.close()
