import CLinux
import Glibc

/// Owns one file descriptor and closes it when the last reference goes.
package final class Descriptor: Sendable {
    /// The number, valid as long as this object lives.
    package let raw: Int32

    /// Takes ownership of `raw`, which must be open.
    package init(owning raw: Int32) {
        precondition(raw >= 0, "Descriptor owns an open descriptor only")
        self.raw = raw
    }

    deinit { close(raw) }

    /// A second descriptor for the same open file, close-on-exec.
    package func duplicate() throws(SystemError) -> Descriptor {
        let copy = fcntl(raw, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw SystemError("duplicate a descriptor") }
        return Descriptor(owning: copy)
    }

    /// The same file opened anew, for reading only.
    package func reopenedReadOnly() throws(SystemError) -> Descriptor {
        let copy = open("/proc/self/fd/\(raw)", O_RDONLY | O_CLOEXEC)
        guard copy >= 0 else { throw SystemError("open a file for reading") }
        return Descriptor(owning: copy)
    }

    /// Waits until something can be read (or the other end is gone), at most until `deadline` of `Clock.monotonic`.
    /// Sharper than poll(2)'s milliseconds (ppoll(2)).
    package func waitReadable(until deadline: UInt64) -> Bool {
        var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        while true {
            let now = Clock.monotonic
            let left = deadline > now ? deadline - now : 0
            var time = timespec(tv_sec: Int(left / 1_000_000_000), tv_nsec: Int(left % 1_000_000_000))
            let count = ppoll(&entry, 1, &time, nil)
            if count >= 0 || errno != EINTR { return count > 0 }
        }
    }

    /// Switches `O_NONBLOCK` on or off.
    package func setNonBlocking(_ on: Bool) throws(SystemError) {
        let flags = fcntl(raw, F_GETFL)
        guard flags >= 0, fcntl(raw, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) >= 0 else {
            throw SystemError("change a descriptor's flags")
        }
    }

    /// Lets a child started with `exec` inherit this descriptor.
    package func setInheritable() throws(SystemError) {
        guard fcntl(raw, F_SETFD, 0) >= 0 else { throw SystemError("make a descriptor inheritable") }
    }
}

/// One-way channels between processes (pipe(7)).
package enum Pipe {
    /// Asks for room for `bytes` in a pipe; less is no error (F_SETPIPE_SZ).
    package static func widen(_ end: Descriptor, to bytes: Int32) { _ = fcntl(end.raw, 1031, bytes) }

    /// Reads what is there now from an end that does not block.
    /// - Returns: the bytes read, 0 at the end, nil if nothing is there now.
    package static func readNow(
        from end: Descriptor,
        into target: UnsafeMutableRawBufferPointer
    ) throws(SystemError) -> Int? {
        let count = read(end.raw, target.baseAddress, target.count)
        if count >= 0 { return count }
        let code = errno
        if code == EAGAIN || code == EINTR { return nil }
        throw SystemError("read from a pipe", code: code)
    }

    /// Both ends, close-on-exec.
    package static func create() throws(SystemError) -> (read: Descriptor, write: Descriptor) {
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw SystemError("create a pipe") }
        return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }
}

/// Anonymous memory with a descriptor, which other processes can map (memfd_create(2)).
package enum Memfd {
    /// A new, empty-looking (all holes) file of `size` bytes; `name` shows in /proc/PID/fd.
    package static func create(name: String, size: Int) throws(SystemError) -> Descriptor {
        let raw = memfd_create(name, UInt32(MFD_CLOEXEC))
        guard raw >= 0 else { throw SystemError("create memory file \(name)") }
        let file = Descriptor(owning: raw)
        guard ftruncate(raw, size) == 0 else {
            throw SystemError("size memory file \(name) to \(size) bytes")
        }
        return file
    }

    /// Gives the file's memory back; it reads as zeros afterwards (fallocate(2), FALLOC_FL_PUNCH_HOLE).
    package static func discardContents(of file: Descriptor, count: Int) {
        _ = fallocate(file.raw, Int32(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE), 0, count)
    }

    /// The size of an open file in bytes.
    package static func size(of file: Descriptor) throws(SystemError) -> Int {
        var info = stat()
        guard fstat(file.raw, &info) == 0 else { throw SystemError("read the size of a memory file") }
        return Int(info.st_size)
    }

    /// Bytes that are really backed by memory (holes do not count).
    package static func populatedBytes(of file: Descriptor) throws(SystemError) -> Int {
        var info = stat()
        guard fstat(file.raw, &info) == 0 else { throw SystemError("read the size of a memory file") }
        return Int(info.st_blocks) * 512
    }
}
