import Checkpoint

/// A host's boot clock: it runs a little fast or slow, and now and then jumps ahead. It never goes back, and two hosts'
/// rates differ by less than the fifth of alone-after that `ActivationDecision` allows for.
struct HostClock {
    private var real = Instant(nanoseconds: 0)
    private var local: Instant
    /// Thousandths of the true rate.
    private let rate: UInt64

    init(rate: UInt64, startingAt local: Instant) {
        self.rate = rate
        self.local = local
    }

    func read(at time: Instant) -> Instant {
        local + TimeSpan(nanoseconds: (time - real).nanoseconds / 1000 * rate)
    }

    /// When it will show `reading`, or has.
    func time(of reading: Instant) -> Instant {
        real + TimeSpan(nanoseconds: ((reading - local).nanoseconds / rate + 1) * 1000)
    }

    mutating func jump(by span: TimeSpan, at time: Instant) {
        local = read(at: time) + span
        real = time
    }
}
