import Glibc

/// By what the kernel chooses when a thread runs (sched(7)).
package struct SchedulingPolicy: Equatable, Sendable {
    private let policy: Int32
    private let priority: Int32

    /// SCHED_RESET_ON_FORK, which is behind _GNU_SOURCE (sched.h).
    private static let resetsOnFork: Int32 = 0x4000_0000

    /// Before every thread that is not real-time, behind every other one that is; what the thread starts is ordinary.
    package static let realTime = SchedulingPolicy(policy: SCHED_FIFO | resetsOnFork, priority: 1)

    private init(policy: Int32, priority: Int32) { (self.policy, self.priority) = (policy, priority) }

    /// This thread's.
    package static var current: SchedulingPolicy {
        var parameters = sched_param()
        sched_getparam(0, &parameters)
        return SchedulingPolicy(policy: sched_getscheduler(0), priority: parameters.sched_priority)
    }

    /// Makes it this thread's. An ordinary one may go on to have only ordinary children, which takes a privilege to change.
    package func apply() throws(SystemError) {
        var parameters = sched_param(sched_priority: priority)
        if sched_setscheduler(0, policy, &parameters) == 0 { return }
        if sched_setscheduler(0, policy | Self.resetsOnFork, &parameters) == 0 { return }
        throw SystemError("change a thread's scheduling")
    }

    /// As a number, for an atomic.
    var bits: UInt64 { UInt64(UInt32(bitPattern: policy)) << 32 | UInt64(UInt32(bitPattern: priority)) }

    init(bits: UInt64) {
        self.init(
            policy: Int32(truncatingIfNeeded: bits >> 32),
            priority: Int32(truncatingIfNeeded: bits)
        )
    }
}
