import CLinux
import Glibc

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
}
