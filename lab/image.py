"""The hosts' image: Debian's packages unpacked into a disk, the hypervisor, the kernel, two initrds. Built once, cached.

The packages come from wherever this machine's own apt gets its packages. They are unpacked, never installed: nothing of
them runs while the image is built, so it needs no chroot, and it holds only what two Xen hosts need.
"""

import glob
import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time

import cpio
from failure import LabError
from plan import HERE

# The hypervisor is held at the last one that Debian built with shadow paging: from 4.17.7 on it is left out, no write of a
# PV guest is recorded without it (xen/arch/x86/Kconfig, SHADOW_PAGING), and nobody's migration of one works.
PACKAGES = """
    linux-image-amd64 xen-hypervisor-4.17-amd64=4.17.5+72-g01140da4e8-1 xen-utils-4.17 xenstore-utils libnl-3-200 libnl-route-3-200 libcurl4 liblz4-1 libstdc++6
    base-files bash busybox-static coreutils findutils grep sed mawk util-linux mount procps kmod less zstd
    iproute2 bridge-utils iputils-ping socat e2fsprogs netcat-openbsd tcpdump strace dropbear-bin redis-server
    """.split()
# Dependencies of packages above that serve only to install them.
UNWANTED = (
    "adduser", "cpio", "debconf", "dpkg", "initramfs-tools", "klibc", "libfile-find", "libklibc", "libnumber-compare",
    "libperl", "libtext-glob", "linux-base", "passwd", "perl", "ucf", "udev", "usrmerge", "media-types",
)
UNWANTED_PATHS = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info", "./usr/lib/debug")
# What stays of the kernel's modules, with all that these need.
MODULES = """
    virtio_pci virtio_blk virtio_net ext4 crc32c_generic 9p 9pnet_virtio
    xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-netback xen-blkback xen-netfront xen-blkfront
    bridge tun loop ifb dummy veth nbd drbd af_packet 8021q nf_tables br_netfilter tcp_bbr
    """.split()
MODULE_FOLDERS = ("kernel/net/sched",)
GUEST_PROGRAMS = ("beacon", "checker", "clockloop", "sequence", "shelld")
BOOT_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
DISK_MIB = 1024
UNUSED_SECONDS = 7 * 24 * 3600


def inputs_key():
    """A hash of everything that goes into the image but is not a package's content."""
    digest = hashlib.sha256()
    for path in [os.path.abspath(__file__), os.path.join(HERE, "cpio.py")] + sorted(
        glob.glob(os.path.join(HERE, "host", "*")) + glob.glob(os.path.join(HERE, "guest", "*"))
    ):
        digest.update(os.path.basename(path).encode() + b"\0")
        with open(path, "rb") as handle:
            digest.update(handle.read())
    return digest.hexdigest()[:16]


def cached_image():
    """The folder of the image: vmm, vmlinux, initrd, disk, ssh_key. Builds it when it is not there."""
    folder = os.path.join(cache(), "lab-" + inputs_key())
    if os.path.isdir(folder):
        os.utime(folder)
        return folder
    os.makedirs(cache(), exist_ok=True)
    forget_old("lab-*")
    print("xenlab: building the hosts' image, once", file=sys.stderr)
    make_aside(folder, build)
    return folder


def cache():
    """Where everything is kept that is slow to make."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "remusd")


def make_aside(folder, make):
    """Has a folder filled beside its place, and moves it there when it is whole."""
    parent, name = os.path.split(folder)
    aside = tempfile.mkdtemp(prefix=name.partition("-")[0] + "-new.", dir=parent)
    try:
        make(aside)
        os.chmod(aside, 0o755)
        try:
            os.rename(aside, folder)
        except OSError:
            if not os.path.isdir(folder):  # Somebody else was faster: theirs is as good.
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def forget_old(pattern):
    """Removes from the cache what nobody has used for a while, and what a build that was killed left behind."""
    for path in glob.glob(os.path.join(cache(), pattern)):
        if time.time() - os.path.getmtime(path) > UNUSED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def build(folder):
    work = os.path.join(folder, "work")
    root = os.path.join(work, "root")
    os.makedirs(root)
    unpack(download(work), root)
    version = os.path.basename(glob.glob(os.path.join(root, "lib/modules/*"))[0])
    kernel = os.path.join(root, "boot/vmlinuz-" + version)
    with gzip.open(glob.glob(os.path.join(root, "boot/xen-*.gz"))[0]) as packed, open(folder + "/vmm", "wb") as out:
        shutil.copyfileobj(packed, out)
    with open(kernel, "rb") as handle:
        vmlinux = uncompressed_kernel(handle.read())
    with open(folder + "/vmlinux", "wb") as out:
        out.write(vmlinux)
    prune_modules(root, version)
    shutil.rmtree(root + "/boot")
    pack_initrd(work, root, version, folder + "/initrd")
    guest = root + "/usr/share/lab"
    os.makedirs(guest)
    os.link(folder + "/vmlinux", guest + "/vmlinux")
    pack_guest(work, root, version, guest)
    finish_root(root, folder)
    run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, folder + "/disk", "%dM" % DISK_MIB)
    shutil.rmtree(work)


def run(*command, **more):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    text = result.stdout.decode("utf-8", "replace")
    if result.returncode != 0:
        raise LabError("%s failed (%d): %s" % (" ".join(command[:3]), result.returncode, text.strip()[-800:]))
    return text


def download(work):
    """Fetches the packages with all they need, as for a machine that has nothing installed; apt checks them."""
    archives = os.path.join(work, "archives")
    os.makedirs(archives + "/partial")
    open(work + "/status", "w").close()
    options = ["-o", "Dir::State::status=%s/status" % work, "-o", "Dir::Cache::archives=" + archives]
    options += ["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]
    command = ["apt-get", "install", "--download-only", "-y", "-qq", "--no-install-recommends"] + options + PACKAGES
    try:
        run(*command)
    except LabError:
        run("apt-get", "update", "-qq")
        run(*command)
    names = sorted(glob.glob(archives + "/*.deb"))
    return [name for name in names if not os.path.basename(name).startswith(UNWANTED)]


def unpack(packages, root):
    for name in ("bin", "sbin", "lib", "lib64"):
        os.makedirs("%s/usr/%s" % (root, name))
        os.symlink("usr/" + name, "%s/%s" % (root, name))
    excluded = ["--exclude=" + path for path in UNWANTED_PATHS]
    for package in packages:
        content = subprocess.Popen(("dpkg-deb", "--fsys-tarfile", package), stdout=subprocess.PIPE)
        tar = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", root] + excluded
        run_with = subprocess.run(tar, stdin=content.stdout)
        content.stdout.close()
        if content.wait() != 0 or run_with.returncode != 0:
            raise LabError("cannot unpack %s" % os.path.basename(package))


def uncompressed_kernel(image):
    """The ELF inside a bzImage. Xen would unpack it at every start of a host and a guest; emulated, that takes seconds."""
    start = image.find(b"\xfd7zXZ\0")
    if start < 0:
        raise LabError("the kernel is not packed with xz")
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(image[start:])


def modules_in_order(root, version, names):
    """Paths of modules and of all that they need, what is needed first (modprobe.d(5), --show-depends)."""
    paths = []
    for name in names:
        text = run("modprobe", "-d", root, "-S", version, "--show-depends", name)
        for line in text.splitlines():
            word = line.split()
            if word[0] == "insmod" and word[1] not in paths:
                paths.append(word[1])
    return paths


def prune_modules(root, version):
    run("depmod", "-b", root, version)
    base = "%s/lib/modules/%s/" % (root, version)
    keep = {os.path.realpath(path) for path in modules_in_order(root, version, MODULES)}
    for folder, _, files in os.walk(base + "kernel"):
        wanted = os.path.relpath(folder, base).startswith(MODULE_FOLDERS)
        for name in files:
            path = os.path.join(folder, name)
            if not wanted and os.path.realpath(path) not in keep:
                os.unlink(path)
    run("depmod", "-b", root, version)


def busybox_tree(root, tree, init):
    """The beginning of an initramfs: busybox under its names, and the program that the kernel starts."""
    for name in ("bin", "dev", "proc", "sys", "tmp", "run", "etc", "modules"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy(root + "/bin/busybox", tree + "/bin/busybox")
    for name in run("busybox", "--list").split():
        if name != "busybox":
            os.symlink("busybox", tree + "/bin/" + name)
    shutil.copy(os.path.join(HERE, init), tree + "/init")
    os.chmod(tree + "/init", 0o755)


def copy_modules(root, version, names, tree):
    with open(tree + "/modules/order", "w") as order:
        for path in modules_in_order(root, version, names):
            shutil.copy(path, tree + "/modules")
            order.write(os.path.basename(path) + "\n")


def pack_initrd(work, root, version, path):
    tree = work + "/initrd"
    busybox_tree(root, tree, "host/initrd-init")
    copy_modules(root, version, BOOT_MODULES, tree)
    cpio.write_archive(tree, path)


def pack_guest(work, root, version, folder):
    """A guest's whole system: busybox, its network driver, the programs of guest/; and redis-server, but for small guests."""
    tree = work + "/guest"
    busybox_tree(root, tree, "guest/init")
    copy_modules(root, version, ("xen-netfront", "af_packet"), tree)
    os.makedirs(tree + "/lib64")
    os.symlink("lib64", tree + "/lib")
    for name in GUEST_PROGRAMS:
        source = os.path.join(HERE, "guest", name + ".c")
        run("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-s", "-o", tree + "/bin/" + name, source)
        copy_libraries(root, tree + "/bin/" + name, tree)
    pack_compressed(tree, folder + "/initrd-small")
    shutil.copy(root + "/usr/bin/redis-check-rdb", tree + "/bin/redis-server")  # One program with two names.
    copy_libraries(root, tree + "/bin/redis-server", tree)
    pack_compressed(tree, folder + "/initrd")


def copy_libraries(root, program, tree):
    """The shared libraries of a program, as the image has them, and what loads them (ld.so(8), --list)."""
    library, loader = root + "/usr/lib/x86_64-linux-gnu", root + "/lib64/ld-linux-x86-64.so.2"
    for word in run(loader, "--library-path", library, "--list", program).split():
        if word.startswith(root):
            shutil.copy(word, tree + "/lib64/" + os.path.basename(word))


def pack_compressed(tree, path):
    """Packed, or the smallest guests could not hold it beside what is unpacked from it."""
    cpio.write_archive(tree, path + ".cpio")
    run("zstd", "-q", "-12", "--rm", path + ".cpio", "-o", path)


def finish_root(root, folder):
    """What the packages' installation would have done, as far as these hosts need it, and the lab's own files."""
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "mnt/share", "usr/local/bin", "usr/local/sbin", "var/log/xen/console", "var/lib/remusd", "var/lib/xen"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    shutil.rmtree(root + "/var/run", ignore_errors=True)
    os.symlink("../run", root + "/var/run")
    if not os.path.lexists(root + "/usr/bin/awk"):
        os.symlink("mawk", root + "/usr/bin/awk")
    for name in ("ifconfig", "vi", "wget", "nc", "arping", "hostname", "telnet", "xxd", "hexdump"):
        if not os.path.lexists("%s/usr/bin/%s" % (root, name)):
            os.symlink("busybox", "%s/usr/bin/%s" % (root, name))
    for name, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n",
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "etc/shadow": "root:*:19000:0:99999:7:::\n",
        "etc/shells": "/bin/sh\n/bin/bash\n",
        "root/.profile": "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/usr/lib/xen-4.17/bin\nPS1='\\h:\\w# '\n",
    }.items():
        with open(os.path.join(root, name), "w") as out:
            out.write(text)
    os.chmod(root + "/etc/shadow", 0o600)
    shutil.copy(os.path.join(HERE, "host/init"), root + "/sbin/lab-init")
    os.chmod(root + "/sbin/lab-init", 0o755)
    if not os.path.lexists(root + "/bin/sh"):
        os.symlink("bash", root + "/bin/sh")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", folder + "/ssh_key")
    os.makedirs(root + "/root/.ssh", 0o700)
    os.chmod(root + "/root", 0o700)
    shutil.copy(folder + "/ssh_key.pub", root + "/root/.ssh/authorized_keys")
    library = root + "/usr/lib/x86_64-linux-gnu"
    loader = root + "/lib64/ld-linux-x86-64.so.2"
    os.makedirs(root + "/etc/dropbear", exist_ok=True)
    run(loader, "--library-path", library, root + "/usr/bin/dropbearkey", "-t", "ed25519", "-f", root + "/etc/dropbear/host_key")
