import CLinux
import Glibc

/// A timer that a thread polls like any other descriptor (timerfd_create(2)).
package final class TimerFD: Sendable {
    /// Readable once the timer has run out, until `drain`.
    package let descriptor: Descriptor

    /// A timer that is not set.
    package init() throws(SystemError) {
        let raw = timerfd_create(CLOCK_MONOTONIC, Int32(CLinux_TFD_CLOEXEC | CLinux_TFD_NONBLOCK))
        guard raw >= 0 else { throw SystemError("create a timer") }
        descriptor = Descriptor(owning: raw)
    }

    /// Runs out no more.
    package func stop() { repeats(every: 0) }

    /// Runs out every `nanoseconds` from now on.
    package func repeats(every nanoseconds: UInt64) {
        let span = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000),
            tv_nsec: Int(nanoseconds % 1_000_000_000)
        )
        var setting = itimerspec(it_interval: span, it_value: span)
        timerfd_settime(descriptor.raw, 0, &setting, nil)
    }

    /// Makes the descriptor unreadable again.
    package func drain() {
        var count: UInt64 = 0
        _ = read(descriptor.raw, &count, 8)
    }
}
