"""Guests of the lab: their configuration for xl, and what can be asked of one that runs."""

import plan
from failure import LabError

KERNEL, INITRD, SMALL_INITRD = (
    "/usr/share/lab/" + name for name in ("vmlinux", "initrd", "initrd-small")
)
FOLDER = "/etc/xen"  # Where remusd standby looks for its templates, too (docs/activation.md).


def template(guest):
    """The configuration for xl; the same on both hosts. What happens at its end is what xl does by default, spelt out."""
    lines = [
        "# A guest of the lab, as plan.py has it.",
        "name = '%s'" % guest.name,
        "uuid = '%s'" % guest.uuid,
        "type = '%s'" % guest.kind,
        "kernel = '%s'" % KERNEL,
        "ramdisk = '%s'" % (INITRD if guest.redis else SMALL_INITRD),
        "extra = 'console=hvc0 quiet %s lab.name=%s lab.address=%s'" % (plan.FAST_KERNEL, guest.name, guest.address),
        "memory = %d" % guest.memory_mib,
        "vcpus = %d" % guest.vcpus,
        "vif = ['mac=%s,bridge=xenbr0']" % guest.mac,
        "on_poweroff = 'destroy'",
        "on_reboot = 'restart'",
        "on_crash = 'destroy'",
    ]
    return "\n".join(lines) + "\n"


def find(name):
    if name not in plan.GUESTS:
        raise LabError("no guest %s: there are %s" % (name, ", ".join(plan.GUESTS)))
    return plan.GUESTS[name]


class Running:
    """A guest as seen from outside: over its network, and by xl."""

    def __init__(self, lab, name):
        self.lab = lab
        self.plan = find(name)
        self.name = name

    def create(self, host, seconds=150):
        host.run(["xl", "create", "-q", "%s/%s.cfg" % (FOLDER, self.name)], timeout=seconds)

    def destroy(self, host):
        host.run(["xl", "destroy", self.name], check=False)

    def ask(self, port, timeout=10):
        """The whole of what one of its services says until it closes."""
        with self.lab.links.connect(self.plan.address, port, timeout) as stream:
            return _all(stream)

    def memory(self, timeout=30):
        """The memory checker's verdict on the whole area: how many pages it has written by now. Raises if one is wrong."""
        line = self.ask(plan.CHECKER_PORT, timeout).strip()
        words = line.split()
        if len(words) != 3 or words[0] != "ok":
            raise LabError("%s: its memory is not what it wrote: %s" % (self.name, line or "no answer"))
        return int(words[1])

    def shell(self, script, timeout=30):
        """Runs a shell script inside the guest; what it printed."""
        with self.lab.links.connect(self.plan.address, plan.SHELL_PORT, timeout) as stream:
            stream.sendall(("exec 2>&1\n%s\nexit\n" % script).encode())
            return _all(stream)

    def tell(self, script, timeout=60):
        """Has a shell inside the guest do something, and waits for no answer: there may come none, or late."""
        with self.lab.links.connect(self.plan.address, plan.SHELL_PORT, timeout) as stream:
            stream.sendall(("%s\nexit\n" % script).encode())

    def wait(self, seconds=150):
        """Until its services answer."""
        ports = [plan.SEQUENCE_PORT, plan.SHELL_PORT] + ([plan.REDIS_PORT] if self.plan.redis else [])

        def answers():
            try:
                for port in ports:
                    self.lab.links.connect(self.plan.address, port, 5).close()
                return self.memory(timeout=5) >= 0
            except OSError:
                return False

        self.lab.wait_for(answers, seconds, "%s answers at %s" % (self.name, self.plan.address))

    def state(self, host):
        """As `xl list` has it: domid, memory, vcpus, state letters; None when the host has no such guest."""
        for line in host.run("xl list").stdout.splitlines()[1:]:
            words = line.split()
            if words[0] == self.name:
                return {"domid": int(words[1]), "memory": int(words[2]), "vcpus": int(words[3]), "state": words[4]}
        return None


def _all(stream):
    parts = []
    while True:
        part = stream.recv(65536)
        if not part:
            return b"".join(parts).decode("utf-8", "replace")
        parts.append(part)
