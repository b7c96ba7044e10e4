"""What the lab consists of: hosts, links, guests, addresses and sizes. Facts only; nothing here does anything."""

import os

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

# The two Xen hosts. Each is one QEMU with one processor: on a small machine a second one costs more than it brings.
HOST_NAMES = ("alpha", "beta")
HOST_MEMORY_MIB = 2560
DOM0_MEMORY_MIB = 1024
STATE_DISK_MIB = 1024

# The links between the hosts, each a segment of the switch (switch.py). The machine itself is a third party on the
# guests' link, as the client that a guest serves. A jumbo frame costs an emulated processor hardly more than a small one.
REPLICATION, BRIDGE = "replication", "bridge"
LINKS = (REPLICATION, BRIDGE)
MTU = {REPLICATION: 9000, BRIDGE: 1500}
CLIENT = "client"
REPLICATION_ADDRESS = {"alpha": "10.8.0.1", "beta": "10.8.0.2"}
BRIDGE_ADDRESS = {"alpha": "10.9.0.1", "beta": "10.9.0.2", CLIENT: "10.9.0.100"}
PREFIX = 24

# What a guest answers on: see guest/init.
REDIS_PORT, SEQUENCE_PORT, CHECKER_PORT, SHELL_PORT = 6379, 7001, 7002, 7003


# What a kernel need not do when the processor is emulated and nobody attacks it.
FAST_KERNEL = "mitigations=off init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off nowatchdog audit=0"


class Guest:
    """A guest that the lab knows how to make; the same on both hosts."""

    def __init__(self, number, kind, vcpus, memory_mib, name=None, redis=True):
        self.kind = kind
        self.vcpus = vcpus
        self.memory_mib = memory_mib
        self.name = name or "%s%d" % (kind, vcpus)
        self.redis = redis
        self.address = "10.9.0.%d" % number
        self.mac = "00:16:3e:00:00:%02x" % number
        self.uuid = "6c616200-0000-4000-8000-0000000000%02x" % number


# Debian's guest kernel (6.1) keeps a megabyte of netfront's buffers for each restore, xl's own as well as ours: a guest that is
# failed over fifty times needs that much to spare.
GUESTS = {
    guest.name: guest
    for guest in (
        Guest(10, "pv", 1, 128, name="small", redis=False),
        Guest(11, "pv", 1, 160),
        Guest(12, "pv", 2, 160),
        Guest(21, "pvh", 1, 128),
        Guest(22, "pvh", 2, 256),
    )
}
