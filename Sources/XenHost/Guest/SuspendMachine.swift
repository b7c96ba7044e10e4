import Checkpoint

/// Where a guest stands between a suspend request and running again. Knows no Xen: states in, verdicts out.
///
/// A request that was withdrawn after the guest had read it cannot be called back: the guest will suspend, and is then
/// resumed at once (`overdue`). A suspend that nobody here asked for is another tool's (`xl save`): it is left alone,
/// and what is known of dirty pages is void, since that tool works Xen's only log-dirty bitmap too.
package struct SuspendMachine: Equatable, Sendable {
    package enum Phase: Equatable, Sendable {
        /// Nothing is asked.
        case running
        /// The guest was asked and has not suspended.
        case asked
        /// The request was withdrawn, too late.
        case overdue
        /// It is suspended for us.
        case suspended
        /// It is suspended for another tool.
        case foreign
    }

    /// What to do for a request.
    package enum Request: Equatable, Sendable {
        /// Ask the guest.
        case ask
        /// It is on its way to suspending already.
        case wait
        /// It will not suspend now.
        case impossible(SuspendOutcome)
        /// It is suspended for a predecessor that died: resume it, then ask again.
        case resumeFirst
    }

    /// What a look at the domain came to.
    package enum Verdict: Equatable, Sendable {
        case nothing
        /// It has suspended as asked.
        case suspended
        /// It has suspended for nobody: resume it.
        case resume
        /// It stands still for somebody else.
        case paused
        case ended(GuestEnd)
    }

    package private(set) var phase = Phase.running
    /// Another tool may have taken dirty bits away. Until `trackingRestarted`.
    package private(set) var isVoid = false
    /// Until then, in nanoseconds of the caller's clock, a suspend that nobody asked for may be a dead predecessor's.
    package var predecessorUntil: UInt64 = 0

    /// A guest of which nothing was asked.
    package init() {}

    /// - Returns: what to do; after `.ask`, the caller says `asked` once it has.
    package mutating func request(_ state: LifeState, at now: UInt64) -> Request {
        switch state {
        case .ended(let end): return .impossible(.ended(end))
        case .gone: return .impossible(.ended(.crashed))
        case .paused: return .impossible(.paused)
        case .suspended where phase == .running || phase == .foreign:
            if phase == .running, now < predecessorUntil { return .resumeFirst }
            suspendedForOthers()
            return .impossible(.paused)
        case .suspended, .running: break
        }
        if phase == .foreign { phase = .running }
        switch phase {
        case .overdue:
            phase = .asked
            return .wait
        case .asked, .suspended: return .wait
        case .running, .foreign: return .ask
        }
    }

    /// The guest was asked.
    package mutating func asked() { phase = .asked }

    /// The request was withdrawn; `taken` if the guest may have read it before.
    package mutating func withdrawn(taken: Bool) {
        if phase == .asked { phase = taken ? .overdue : .running }
    }

    /// The guest was resumed.
    package mutating func resumed() { phase = .running }

    /// A look at the domain.
    package mutating func observe(_ state: LifeState, at now: UInt64) -> Verdict {
        switch state {
        case .ended(let end): return .ended(end)
        // Somebody destroyed it: whatever it had to say is lost, and its image is kept.
        case .gone: return .ended(.crashed)
        case .suspended:
            switch phase {
            case .asked:
                phase = .suspended
                return .suspended
            case .overdue: return .resume
            case .suspended: return .suspended
            case .running where now < predecessorUntil: return .resume
            case .running, .foreign:
                suspendedForOthers()
                return .paused
            }
        case .running, .paused:
            switch phase {
            case .suspended:
                // Somebody else resumed it: what is being copied is no checkpoint.
                phase = .running
                isVoid = true
            case .foreign: phase = .running
            case .running, .asked, .overdue: break
            }
            return state == .paused ? .paused : .nothing
        }
    }

    /// Another tool wrote a request to suspend.
    package mutating func foreignRequest() {
        isVoid = true
        // So the suspend that follows is not a dead predecessor's.
        predecessorUntil = 0
    }

    /// It suspended as asked, and another tool had asked it too: that tool has it now, and resumes it.
    package mutating func handOver() {
        if phase == .suspended { suspendedForOthers() }
    }

    /// Tracking was started anew, and everything counts as dirty.
    package mutating func trackingRestarted() { isVoid = false }

    private mutating func suspendedForOthers() {
        phase = .foreign
        isVoid = true
    }
}
