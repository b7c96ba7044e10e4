import CLinux
import Glibc

/// Watches many descriptors at once (epoll(7)). Any thread may change the interest list.
package final class Epoll: Sendable {
    /// What can be watched for, and what is reported.
    package struct Events: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let readable = Events(rawValue: UInt32(EPOLLIN.rawValue))
        package static let writable = Events(rawValue: UInt32(EPOLLOUT.rawValue))
        /// The peer will send no more.
        package static let peerClosed = Events(rawValue: UInt32(EPOLLRDHUP.rawValue))
        /// Always reported, never asked for.
        package static let hangup = Events(rawValue: UInt32(EPOLLHUP.rawValue))
        package static let error = Events(rawValue: UInt32(EPOLLERR.rawValue))
    }

    /// Readable while any watched descriptor is ready, so that it can be watched in its turn.
    package let descriptor: Descriptor

    package init() throws(SystemError) {
        let raw = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard raw >= 0 else { throw SystemError("create an epoll set") }
        descriptor = Descriptor(owning: raw)
    }

    /// Starts watching; `token` comes back with every event.
    package func add(_ watched: Descriptor, _ events: Events, token: UInt64) throws(SystemError) {
        try add(raw: watched.raw, events, token: token)
    }

    /// The same for a descriptor that somebody else owns, and keeps open for longer.
    package func add(raw: Int32, _ events: Events, token: UInt64) throws(SystemError) {
        guard control(EPOLL_CTL_ADD, raw, events, token) == 0 else {
            throw SystemError("watch a descriptor")
        }
    }

    /// Watches for something else from now on.
    package func change(_ watched: Descriptor, _ events: Events, token: UInt64) {
        _ = control(EPOLL_CTL_MOD, watched.raw, events, token)
    }

    /// Stops watching.
    package func remove(_ watched: Descriptor) { _ = control(EPOLL_CTL_DEL, watched.raw, [], 0) }

    private func control(_ operation: Int32, _ raw: Int32, _ events: Events, _ token: UInt64) -> Int32 {
        var event = epoll_event(events: events.rawValue, data: epoll_data_t(u64: token))
        return epoll_ctl(descriptor.raw, operation, raw, &event)
    }

    /// Waits for events, at most 64 at once, and hands each to `body`.
    /// - Parameter milliseconds: -1 waits without end.
    package func wait(milliseconds: Int32, _ body: (_ token: UInt64, _ events: Events) -> Void)
        throws(SystemError)
    {
        try withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 64) { events throws(SystemError) in
            let count = epoll_wait(descriptor.raw, events.baseAddress, 64, milliseconds)
            guard count >= 0 || errno == EINTR else { throw SystemError("wait for events") }
            for index in 0..<max(0, Int(count)) {
                body(events[index].data.u64, Events(rawValue: events[index].events))
            }
        }
    }
}
