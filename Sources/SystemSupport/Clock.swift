import CLinux
import Glibc

/// Readings of the kernel's clocks, in nanoseconds.
package enum Clock {
    /// CLOCK_MONOTONIC: for intervals and deadlines within one process.
    package static var monotonic: UInt64 { read(CLOCK_MONOTONIC) }
    /// CLOCK_BOOTTIME: the same in every process of this boot, counting suspended time too.
    package static var boot: UInt64 { read(CLOCK_BOOTTIME) }
    /// CLOCK_REALTIME: for people; never for decisions.
    package static var wall: UInt64 { read(CLOCK_REALTIME) }
    /// CLOCK_THREAD_CPUTIME_ID: processor time that the calling thread has used.
    package static var thread: UInt64 { read(CLOCK_THREAD_CPUTIME_ID) }

    /// CLOCK_PROCESS_CPUTIME_ID: processor time that all threads of this process have used.
    package static var process: UInt64 { read(CLOCK_PROCESS_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var now = timespec()
        clock_gettime(clock, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}
