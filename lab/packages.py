"""The Debian packages that the lab, and bench/ beside it, need on the machine itself."""

import os
import shutil
import subprocess
import sys

from failure import LabError

NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "mke2fs": "e2fsprogs",
    "ip": "iproute2",
    "modprobe": "kmod",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "gcc": "gcc",
    "strip": "binutils",
    "zstd": "zstd",
    "dpkg-deb": "dpkg",
    "tar": "tar",
    "etcd": "etcd-server",
}
# A C compiler alone has no headers to compile with.
FILES = {"/usr/include/stdio.h": "libc6-dev"}


def need_packages(commands=NEEDED, files=FILES, program="xenlab"):
    """Installs the packages of the commands and files that are missing, when root; says what they are otherwise."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = {package for command, package in commands.items() if not shutil.which(command)}
    missing |= {package for path, package in files.items() if not os.path.exists(path)}
    if not missing:
        return
    names = sorted(missing)
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise LabError("needs the Debian packages %s; as root: apt-get install %s" % ((" ".join(names),) * 2))
    print("%s: installing %s" % (program, " ".join(names)), file=sys.stderr)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"] + names
    for command in (install, ["apt-get", "update", "-qq"], install):
        result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        if command is install and result.returncode == 0:
            return
    raise LabError("cannot install %s" % " ".join(names))
