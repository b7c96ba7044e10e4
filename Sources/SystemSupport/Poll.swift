import CLinux
import Glibc

/// Waits for descriptors (poll(2)). Allocates nothing.
package enum Poll {
    /// What to wait for, and what came.
    package struct Entry {
        fileprivate var entry: pollfd

        /// Waits for `raw` to be readable and, if asked, writable; a negative `raw` is skipped.
        package init(_ raw: Int32, readable: Bool = true, writable: Bool = false) {
            let events = (readable ? POLLIN : 0) | (writable ? POLLOUT : 0)
            entry = pollfd(fd: raw, events: Int16(events), revents: 0)
        }

        /// The descriptor.
        package var raw: Int32 { entry.fd }
        /// Anything came: data, room, an error, or the end.
        package var isReady: Bool { entry.revents != 0 }
        /// Data, an error or the end came.
        package var isReadable: Bool { entry.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 }
    }

    /// Waits for one descriptor to be ready.
    /// - Parameter milliseconds: -1 waits without end.
    /// - Returns: false if the time passed, or a signal came, first.
    package static func wait(
        _ raw: Int32,
        readable: Bool = true,
        writable: Bool = false,
        milliseconds: Int32
    ) -> Bool {
        var entry = Entry(raw, readable: readable, writable: writable)
        return poll(&entry.entry, 1, milliseconds) > 0
    }

    /// Whether the other end of a connected socket has closed it, or shut its writing side; bytes that it sent before may
    /// still wait.
    /// - Parameter milliseconds: how long to wait for that; -1 without end.
    package static func peerHasClosed(_ raw: Int32, within milliseconds: Int32 = 0) -> Bool {
        // POLLRDHUP (poll(2)), which Glibc's module shows to GNU programs only.
        let closed: Int16 = 0x2000
        var entry = pollfd(fd: raw, events: closed, revents: 0)
        return poll(&entry, 1, milliseconds) > 0 && entry.revents & (closed | Int16(POLLHUP | POLLERR)) != 0
    }

    /// Waits until one of `entries` is ready, at most `milliseconds` (-1 without end).
    package static func wait(_ entries: inout [Entry], milliseconds: Int32) {
        entries.withUnsafeMutableBytes { bytes in
            _ = poll(
                bytes.assumingMemoryBound(to: pollfd.self).baseAddress,
                nfds_t(bytes.count / MemoryLayout<pollfd>.size),
                milliseconds
            )
        }
    }

    /// Waits until one of three is ready, at most `nanoseconds`.
    package static func wait(_ entries: inout (Entry, Entry, Entry), nanoseconds: UInt64) {
        var more = (entries.0, entries.1, entries.2, Entry(-1))
        wait(&more, nanoseconds: nanoseconds)
        entries = (more.0, more.1, more.2)
    }

    /// Waits until one of four is ready, at most `nanoseconds`.
    /// - Parameter looking: nanoseconds of that in which it does not let go of the processor.
    package static func wait(
        _ entries: inout (Entry, Entry, Entry, Entry),
        nanoseconds: UInt64,
        lookingFirst looking: UInt64 = 0
    ) {
        if looking > 0 {
            let end = Clock.monotonic + min(looking, nanoseconds)
            while Clock.monotonic < end { if pollOnce(&entries, nanoseconds: 0) > 0 { return } }
        }
        _ = pollOnce(&entries, nanoseconds: nanoseconds)
    }

    private static func pollOnce(
        _ entries: inout (Entry, Entry, Entry, Entry),
        nanoseconds: UInt64
    ) -> Int32 {
        var timeout = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000),
            tv_nsec: Int(nanoseconds % 1_000_000_000)
        )
        return withUnsafeMutableBytes(of: &entries) { bytes in
            CLinux_ppoll(bytes.assumingMemoryBound(to: pollfd.self).baseAddress, 4, &timeout)
        }
    }
}
