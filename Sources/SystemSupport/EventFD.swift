import CLinux
import Glibc

/// Wakes a thread that polls: any thread signals, the owner drains (eventfd(2)).
package final class EventFD: Sendable {
    /// Readable while a signal is pending.
    package let descriptor: Descriptor

    package init() throws(SystemError) {
        let raw = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard raw >= 0 else { throw SystemError("create an eventfd") }
        descriptor = Descriptor(owning: raw)
    }

    /// Makes the descriptor readable. Never blocks.
    package func signal() {
        var one: UInt64 = 1
        _ = write(descriptor.raw, &one, 8)
    }

    /// Takes back every signal so far.
    package func drain() {
        var count: UInt64 = 0
        _ = read(descriptor.raw, &count, 8)
    }
}
