import CLinux
import Glibc

/// Another process, held by pidfd: never confused with a later process of the same number.
package final class ProcessHandle: Sendable {
    /// The process number at the time it was opened.
    package let pid: Int32
    /// Becomes readable when the process has ended (pidfd_open(2)).
    package let descriptor: Descriptor

    /// Opens a running process.
    /// - Parameter startTime: if given, the process must have this start time (`ProcessHandle.startTime(of:)`).
    /// - Throws: code ESRCH if the process has ended, and only then.
    package init(pid: Int32, startTime: UInt64? = nil) throws(SystemError) {
        let raw = CLinux_pidfd_open(pid)
        guard raw >= 0 else { throw SystemError("watch process \(pid)") }
        self.pid = pid
        descriptor = Descriptor(owning: raw)
        guard let startTime else { return }
        // What cannot be read says nothing about a process, unless it has ended meanwhile.
        let found = Self.startTime(of: pid)
        guard found != nil || hasEnded else {
            throw SystemError("tell process \(pid) from another", code: EIO)
        }
        if found != startTime { throw SystemError("watch process \(pid)", code: ESRCH) }
    }

    /// True once the process has ended (a zombie has ended).
    package var hasEnded: Bool {
        var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0
    }

    /// Sends a signal; a process that has ended is no error.
    package func signal(_ number: Int32) {
        _ = CLinux_pidfd_send_signal(descriptor.raw, number)
    }

    /// Waits for the end, at most `milliseconds`. Returns whether it has ended.
    @discardableResult
    package func waitForEnd(milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    /// When a process started, in clock ticks since boot: /proc/PID/stat, field 22 (proc(5)).
    package static func startTime(of pid: Int32) -> UInt64? {
        guard let text = SmallFile.read("/proc/\(pid)/stat"),
            let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }
}
