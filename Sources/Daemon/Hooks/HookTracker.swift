import Checkpoint

/// What a host is to a guest, as far as hooks are concerned.
package enum HookSituation: Equatable, Sendable {
    /// On the way from one of the others to one of them.
    case unsettled
    case protected, lost, alone, outdated, splitBrain, active, ended
}

/// Makes events of situations: one for each change, none for what comes and goes before anybody would call it a loss.
package struct HookTracker: Equatable, Sendable {
    /// Between two looks, at most; a process that looked later was stopped itself, and that time is nobody's silence.
    private static let lateness = TimeSpan.milliseconds(300)

    /// What hooks were told last.
    private var told: HookSituation
    /// Since when the other side is lost, counting only while somebody looked.
    private var lostSince: Instant?
    private var lookedAt: Instant?

    package init(told: HookSituation = .unsettled) { self.told = told }

    /// Hooks know of `situation`, without being told.
    package mutating func takeAsTold(_ situation: HookSituation) { told = situation }

    /// The event to tell hooks of, if any. To be called at every change, and every 100 ms.
    /// - Parameters:
    ///   - isSure: the loss was found out by waiting. Else the connection ended at once, as it does when a process is
    ///     restarted: it is a loss once it has not come back for `suspectAfter`.
    package mutating func note(
        _ situation: HookSituation,
        isSure: Bool,
        suspectAfter: TimeSpan,
        at now: Instant
    ) -> HookEvent? {
        let absent = lookedAt.map { now - $0 } ?? TimeSpan(nanoseconds: 0)
        lookedAt = now
        guard situation == .lost else {
            lostSince = nil
            return tell(situation)
        }
        var since = lostSince ?? now
        if lostSince != nil, absent > Self.lateness { since = since + absent }
        lostSince = since
        return isSure || now - since >= suspectAfter ? tell(.lost) : nil
    }

    private mutating func tell(_ situation: HookSituation) -> HookEvent? {
        guard situation != .unsettled, situation != told else { return nil }
        told = situation
        return switch situation {
        case .unsettled: nil
        case .protected: .postProtected
        case .lost: .peerLost
        case .alone: .postAlone
        case .outdated: .postOutdated
        case .splitBrain: .postSplitBrain
        case .active: .postActivate
        case .ended: .postEnded
        }
    }
}
