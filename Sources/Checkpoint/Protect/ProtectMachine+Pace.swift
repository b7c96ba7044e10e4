/// How long epochs last, where that is not always the same: what the machine learns from each, and how it hears of the pages
/// that are dirty while the guest runs.
extension ProtectMachine {
    /// When the guest is to be asked how many pages are dirty since its last suspend (`ProtectEvent.dirtied`); nil: no answer would
    /// change anything.
    package var nextLook: Instant? {
        guard pace.budget != nil, !budgetIsUsed, nextCount < nextSuspend, !finished else { return nil }
        guard link == .up, ending == nil, authority == .normal, !standsStill, !guestPaused else { return nil }
        return work == .running || work == .inFlight ? nextCount : nil
    }

    mutating func dirtied(_ pages: Int, _ now: Instant) {
        nextCount = now + pace.interval.percent(25)
        guard let budget = pace.budget, work == .running || work == .inFlight else { return }
        if pages >= budget { budgetIsUsed = true }
    }

    /// The guest is suspended: what it writes afterwards is the next epoch's.
    mutating func beginCounting() {
        budgetIsUsed = false
        nextCount = suspendedAt + pace.interval.percent(25)
    }

    /// An epoch of which part went ahead, or that waits for a connection, says nothing of what a commit takes.
    mutating func measureCut(_ now: Instant) {
        cutAt = now
        guard link == .up, !sentWhileRunning else { return measured = nil }
        measured = IntervalPolicy.Epoch(
            pages: stagedPages,
            ran: suspendedAt - resumedAt,
            pause: now - suspendedAt,
            commit: TimeSpan(nanoseconds: 0)
        )
    }

    mutating func measureCommit(_ now: Instant) {
        guard var epoch = measured else { return }
        epoch.commit = now - cutAt
        measured = nil
        pace.committed(epoch)
    }
}
