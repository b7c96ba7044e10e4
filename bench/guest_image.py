"""The recorded guest: Debian's kernel, and an initramfs with busybox, text and sources to work on, and workload.c.

All of it comes from Debian's packages, unpacked and never installed, so that every machine records the same guest.
"""

import glob
import os
import re
import shutil
import sys

import cpio
import image
from failure import LabError

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ["busybox-static", "base-files", "linux-libc-dev"]
KERNEL = "linux-image-amd64"


def cached_guest(folder):
    """The guest's folder in `folder`, with vmlinux and initrd. Builds it when it is not there."""
    guest = os.path.join(folder, "guest")
    if os.path.isdir(guest):
        return guest
    print("record: building the guest, once", file=sys.stderr)
    image.make_aside(guest, build)
    return guest


def build(folder):
    work = os.path.join(folder, "work")
    root, tree = work + "/root", work + "/tree"
    os.makedirs(root)
    image.unpack(download(work), root)
    with open(glob.glob(root + "/boot/vmlinuz-*")[0], "rb") as packed, open(folder + "/vmlinux", "wb") as out:
        out.write(image.uncompressed_kernel(packed.read()))
    image.busybox_tree(root, tree, os.path.join(HERE, "guest-init"))
    shutil.copytree(root + "/usr/share/common-licenses", tree + "/text")
    shutil.copytree(root + "/usr/include/linux", tree + "/tree")
    options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s"]
    image.run("cc", *options, "-o", tree + "/bin/workload", os.path.join(HERE, "workload.c"))
    cpio.write_archive(tree, folder + "/initrd")
    shutil.rmtree(work)


def download(folder):
    """Fetches the packages, and the kernel that Debian has now; apt checks them."""
    try:
        fetch(folder)
    except LabError:
        image.run("apt-get", "update", "-qq")
        fetch(folder)
    return sorted(glob.glob(folder + "/*.deb"))


def fetch(folder):
    about = image.run("apt-cache", "show", "--no-all-versions", KERNEL)
    kernel = re.search(r"^Depends:.*?\b(linux-image-\d[\w.+-]+)", about, re.MULTILINE)
    if not kernel:
        raise LabError("apt knows no kernel of the name %s" % KERNEL)
    image.run("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", kernel[1], *PACKAGES, cwd=folder)
