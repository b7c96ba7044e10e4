"""Writes an initramfs: a cpio archive in the `newc` form (Linux, Documentation/driver-api/early-userspace/buffer-format.rst)."""

import os
import stat


def write_archive(root, path):
    """Packs the tree at `root` into the file `path`; all of it belongs to root:root there."""
    with open(path, "wb") as out:
        number = 0
        for folder, folders, files in os.walk(root):
            folders.sort()
            for name in sorted(folders + files):
                full = os.path.join(folder, name)
                status = os.lstat(full)
                data = b""
                if stat.S_ISLNK(status.st_mode):
                    data = os.readlink(full).encode()
                elif stat.S_ISREG(status.st_mode):
                    with open(full, "rb") as handle:
                        data = handle.read()
                number += 1
                _member(out, os.path.relpath(full, root), number, status.st_mode, data)
        _member(out, "TRAILER!!!", 0, 0, b"")


def _member(out, name, number, mode, data):
    """One member: 13 fields of 8 hex digits after the magic, the name, the data; both padded to 4 bytes."""
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    out.write(head + bytes(-len(head) % 4))
    out.write(data + bytes(-len(data) % 4))
