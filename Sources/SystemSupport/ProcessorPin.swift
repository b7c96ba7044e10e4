import CLinux
import Glibc

/// Which processors a thread runs on (sched_setaffinity(2)).
package enum ProcessorPin {
    /// Numbers of those that this thread may run on, ascending, below 1024.
    package static var allowed: [Int] { (0..<1024).filter { CLinux_may_run_on(Int32($0)) != 0 } }

    /// Keeps this thread, and those that it starts from now on, on one processor.
    package static func pin(to processor: Int) throws(SystemError) {
        guard CLinux_pin(Int32(processor)) == 0 else { throw SystemError("run on processor \(processor)") }
    }
}
