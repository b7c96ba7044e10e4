import SystemSupport

/// What this process takes of processors for an order's epochs, on all of its threads, but for what the guest does. From the first
/// acknowledgement to the last: so the work that an acknowledgement makes is in it as often as any other.
///
/// Unchecked: the engine's thread writes while it plays an order, the measuring thread reads between orders.
final class ProcessorWatch: EpochWatch, @unchecked Sendable {
    /// Nanoseconds, in the newest order.
    private(set) var taken: UInt64 = 0
    /// When it began to count, what the guest has taken since then, and when it began to; nanoseconds of processor time.
    private var before: UInt64 = 0, guest: UInt64 = 0, ranSince: UInt64 = 0

    func guestRuns() { ranSince = Clock.thread }

    func guestRan() { guest += Clock.thread - ranSince }

    func acknowledged(_ count: Int) {
        let now = Clock.process
        if count == 1 { (before, guest) = (now, 0) }
        let all = now - before
        // Two clocks: they may differ in how they round.
        taken = all > guest ? all - guest : 0
    }
}
