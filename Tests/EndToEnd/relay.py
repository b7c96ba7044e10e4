"""For scripts/e2e. A piece of network that can be made to carry nothing, both ends staying open."""

import socket
import threading

from .traffic import split


class Relay:
    def __init__(self, target):
        self.target = split(target)
        self.open = threading.Event()
        self.open.set()
        self.sockets = []
        self.stopped = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near):
        self.open.wait()
        try:
            far = socket.create_connection(self.target, timeout=1)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self.sockets += [near, far]
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        try:
            while True:
                data = one.recv(1 << 16)
                self.open.wait()
                if not data or self.stopped:
                    break
                other.sendall(data)
        except OSError:
            self.open.wait()
        for each in (one, other):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.stopped = True
        self.listener.close()
        self.open.set()
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
