/// How long epochs last: always the same, or as the link, the guest and a target for what output is to wait have it.
///
/// Output waits for an interval and a commit at most. With a target, the interval is what the commits of late leave of that; and half
/// of it is a commit's, so that what the link carries in that time is an epoch's budget: one that has as many dirty pages ends sooner.
/// Long pauses make intervals longer again, as far as the budget lets them. Whatever it is told, it stays between `least` and `most`.
package struct IntervalPolicy: Equatable, Sendable {
    /// What a committed epoch was like.
    package struct Epoch: Equatable, Sendable {
        /// Pages of it that were sent.
        package var pages: Int
        /// How long the guest ran, and how long it stood still until the cut.
        package var ran: TimeSpan, pause: TimeSpan
        /// From the cut to the acknowledgement.
        package var commit: TimeSpan

        package init(pages: Int, ran: TimeSpan, pause: TimeSpan, commit: TimeSpan) {
            self.pages = pages
            self.ran = ran
            self.pause = pause
            self.commit = commit
        }
    }

    /// What output is to wait where nobody says.
    package static let usualTarget = TimeSpan.milliseconds(50)
    /// What a target may be.
    package static let targets = TimeSpan.milliseconds(5)...TimeSpan.seconds(10)
    /// What a budget may be, in pages: the least is little for any link, the most is more than there is.
    package static let budgets = 256...1 << 24
    /// What a link is taken to carry before it has shown it, in pages a nanosecond: 1 Gbit/s, of plain pages.
    private static let firstRate = 25_000 / 1e9
    /// Part of the way that an average goes to what is newest.
    private static let step = 0.25
    /// The guest stands still for one part of so many, as far as the budget and `most` allow.
    private static let share = 10.0

    /// From suspend to suspend: never less, never more.
    package let least: TimeSpan, most: TimeSpan
    /// From suspend to suspend, in the next epoch.
    package private(set) var interval: TimeSpan
    /// In nanoseconds; nil: the interval is always the same.
    private let target: Double?
    private var pages = 0.0
    /// Averages: nanoseconds of a pause and of a commit, dirty pages a nanosecond.
    private var pause = 0.0, commit = 0.0, writes = 0.0

    /// Always the same.
    package init(every interval: TimeSpan) {
        (least, most, self.interval) = (interval, interval, interval)
        target = nil
    }

    /// - Parameter target: what output is to wait; taken for the nearest of `targets`. Intervals last from a fifth of it to four times
    ///   as long.
    package init(target: TimeSpan) {
        let target = min(max(target, Self.targets.lowerBound), Self.targets.upperBound)
        least = target.percent(20)
        most = target.percent(400)
        interval = target
        self.target = Double(target.nanoseconds)
        pages = Self.bounded(Self.firstRate * Double(target.nanoseconds) / 2)
    }

    /// Dirty pages after which an epoch ends; nil: it ends by time only.
    package var budget: Int? { target == nil ? nil : Int(pages) }

    /// From suspend to suspend at least, when an epoch's budget is used up: the guest runs for as long as it stood still.
    package var soonest: TimeSpan { clamped(2 * pause) }

    /// From suspend to suspend while output fills what may be held.
    package var shortened: TimeSpan {
        target == nil ? interval.percent(25) : max(interval.percent(25), least)
    }

    /// An epoch is committed: what is known of the link and the guest grows.
    package mutating func committed(_ epoch: Epoch) {
        guard let target else { return }
        let goal = target / 2
        let sent = Double(max(epoch.pages, 0))
        let took = max(1000, Double(epoch.commit.nanoseconds))
        // What took very long once says little about the next time.
        let (longest, stood) = (Double(most.nanoseconds), Double(epoch.pause.nanoseconds))
        commit += (min(took, longest) - commit) * Self.step
        pause += (min(stood, longest) - pause) * Self.step
        writes += (sent / max(1_000_000, Double(epoch.ran.nanoseconds)) - writes) * Self.step
        // What a commit of the right length would have taken along. Of a small epoch, which mostly waits for its answer, that is too
        // little: there less counts only where it took too long, which counts twice.
        let fits = sent * goal / took
        let isTooSlow = took > goal && fits < pages
        if isTooSlow || fits > pages || sent > pages / 2 {
            pages += (fits - pages) * (isTooSlow ? 2 : 1) * Self.step
        }
        pages = Self.bounded(pages)
        interval = chosen(target)
    }

    private func chosen(_ target: Double) -> TimeSpan {
        var time = max(target - commit, Self.share * pause)
        // At this pace the budget is used up by then, also of a guest that cannot be asked meanwhile.
        if writes > 0 { time = min(time, pause + pages / writes) }
        return max(clamped(time), soonest)
    }

    private func clamped(_ nanoseconds: Double) -> TimeSpan {
        let (low, high) = (Double(least.nanoseconds), Double(most.nanoseconds))
        return TimeSpan(nanoseconds: UInt64(min(max(nanoseconds, low), high)))
    }

    private static func bounded(_ pages: Double) -> Double {
        min(max(pages, Double(budgets.lowerBound)), Double(budgets.upperBound))
    }
}
