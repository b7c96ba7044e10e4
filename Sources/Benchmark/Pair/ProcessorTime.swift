import Glibc

/// Processor time that was used, in microseconds (getrusage(2)).
enum ProcessorTime {
    /// Of this process, all its threads.
    static var ofProcess: UInt64 {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func microseconds(_ time: timeval) -> UInt64 {
            UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_usec)
        }
        return microseconds(usage.ru_utime) + microseconds(usage.ru_stime)
    }
}
