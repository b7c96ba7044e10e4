import CLinux
import Glibc
import Synchronization

/// Which processors a thread runs on (sched_setaffinity(2)).
package enum ProcessorPin {
    /// Numbers of those that this thread may run on, ascending, below 1024.
    package static var allowed: [Int] { (0..<1024).filter { CLinux_may_run_on(Int32($0)) != 0 } }

    /// How many run at all.
    package static var online: Int { sysconf(Int32(_SC_NPROCESSORS_ONLN)) }

    /// The one that this thread runs on now.
    package static var current: Int32 { CLinux_processor() }

    /// Keeps this thread off one of `processors`, and on the others, if it can be done.
    package static func avoid(_ processor: Int32, of processors: [Int32]) {
        _ = CLinux_run_beside(processor, processors, Int32(processors.count))
    }

    /// Keeps this thread, and those that it starts from now on, on one processor.
    package static func pin(to processor: Int) throws(SystemError) {
        guard CLinux_pin(Int32(processor)) == 0 else { throw SystemError("run on processor \(processor)") }
    }

    // MARK: One thread alone

    /// The threads that are on one processor by `dedicate`, and where each ran before.
    private static let dedicated = Mutex<[pthread_t: (processor: Int, before: [Int32])]>([:])

    /// Keeps this thread on one processor until `release`. What it starts meanwhile (`WorkerThread`, `ChildProcess`) may run wherever this
    /// thread might before: the kernel would have it inherit the one, for good.
    package static func dedicate(to processor: Int) throws(SystemError) {
        let before = allowed.map { Int32($0) }
        try pin(to: processor)
        dedicated.withLock { $0[pthread_self()] = (processor, before) }
    }

    /// Lets this thread run where it might before `dedicate`.
    package static func release() {
        guard let (_, before) = dedicated.withLock({ $0.removeValue(forKey: pthread_self()) }) else { return }
        avoid(-1, of: before)
    }

    /// Starts something that is not to inherit this thread's processor: for that long the thread is where it was before `dedicate`.
    static func starting<R>(_ body: () -> R) -> R {
        guard let (processor, before) = dedicated.withLock({ $0[pthread_self()] }) else { return body() }
        avoid(-1, of: before)
        // A processor that has gone offline meanwhile is nobody's.
        defer { try? pin(to: processor) }
        return body()
    }
}
