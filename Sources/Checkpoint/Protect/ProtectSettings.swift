/// The numbers a protection runs by. All bounded, all the operator's to choose (promise R4).
package struct ProtectSettings: Equatable, Sendable {
    /// From suspend to suspend, unless there is a `latencyTarget`.
    package var interval: TimeSpan = .milliseconds(50)
    /// What output is to wait: intervals are chosen by that, epoch by epoch (`IntervalPolicy`). Nil: they are all the same.
    package var latencyTarget: TimeSpan?
    /// The intervals, as they begin.
    package var pace: IntervalPolicy {
        latencyTarget.map { IntervalPolicy(target: $0) } ?? IntervalPolicy(every: interval)
    }
    /// Longest time a guest stays suspended; a checkpoint that takes longer is abandoned.
    package var maxPause: TimeSpan = .milliseconds(500)
    /// Longest time a guest may take to follow a suspend request.
    package var suspendTimeout: TimeSpan = .seconds(1)
    /// Longest time from a cut, or from the last of an epoch that the peer took, to more of that or its acknowledgement; then
    /// the peer counts as failing. In all, an epoch may take `aloneAfter`.
    package var maxHold: TimeSpan = .seconds(2)
    /// Time without a heartbeat after which the primary, with nobody to ask, goes on alone.
    package var aloneAfter: TimeSpan = .seconds(10)
    /// Who is asked before that.
    package var arbitration = Arbitration.preferPrimary
    /// The guest writes to a disk that nobody replicates.
    package var hasUnreplicatedDisk = false
    /// It stands still while it may be running elsewhere: somebody, or an arbiter, may have given it to the standby.
    package var standsStill: Bool { hasUnreplicatedDisk && arbitration != .preferPrimary }
    /// Between two heartbeats.
    package var heartbeat: TimeSpan = .milliseconds(100)
    /// Silence on a connection after which it is given up.
    package var suspectAfter: TimeSpan { Self.suspectAfter(aloneAfter) }
    /// Time without a word from a standby that was not silent (its process ended, say, and may come back) after which an
    /// arbiter is asked; after silence it is asked at once.
    var askAfter: TimeSpan { max(suspectAfter, aloneAfter.percent(50)) }
    /// Between two attempts to connect.
    package var retry: TimeSpan = .milliseconds(200)
    /// Longest time for a connection to be made; and, if half of alone-after is less, for its hello to be answered.
    package var connectTimeout: TimeSpan = .seconds(2)
    /// The initial sync goes over to its checkpoint when a round sent fewer pages than this, …
    package var syncThreshold = 1024
    /// … or after this many rounds.
    package var syncRounds = 5

    /// Pages of an epoch from which on what is dirty already is sent before the guest is suspended; nil: it is not.
    package var sweepsFrom: Int?

    package init() {}

    /// A tenth of the time that both sides have to notice a loss, and a second at least: on a slow machine that is given
    /// more time, a short stall is no loss. Both sides go by it.
    package static func suspectAfter(_ aloneAfter: TimeSpan) -> TimeSpan {
        max(.seconds(1), aloneAfter.percent(10))
    }
}
