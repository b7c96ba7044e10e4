import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// A real engine and a real standby over loopback, with intervals that are chosen epoch by epoch.
@Suite(.timeLimit(.minutes(2))) struct AdaptiveProtectionTests {
    private let guest = WritingGuest(pages: 64, seed: 7)

    /// Protects until `epochs` are committed: what was known then, and how many there were in the end.
    private func protect(
        _ choice: IntervalChoice,
        epochs: UInt64
    ) throws -> (then: ProtectStatus, epochs: Int) {
        let pair = try LoopbackPair(guest)
        let (engine, thread) = try pair.protect { choice.apply(to: &$0.settings) }
        let deadline = Clock.monotonic + 60_000_000_000
        while (engine.snapshot.status.acked ?? 0) < epochs, Clock.monotonic < deadline { usleep(1000) }
        let status = engine.snapshot.status
        pair.end(engine, thread)
        return (status, engine.snapshot.meters.epochs)
    }

    private let adaptive = IntervalChoice.adaptive(.milliseconds(100))

    /// One answer is enough for an epoch whose budget is used up.
    @Test func theGuestIsAskedWhatIsDirtyUntilThatIsEnough() throws {
        guest.claim(dirty: .max)
        let (status, epochs) = try protect(adaptive, epochs: 12)
        #expect(status.acked ?? 0 >= 12 && status.state == .protected)
        #expect(guest.looks > 0 && guest.looks <= epochs)
        let policy = IntervalPolicy(target: .milliseconds(100))
        #expect((policy.least...policy.most).contains(status.interval))
    }

    /// It is asked again in the next epoch, and no more in this one.
    @Test func aGuestThatCannotSayIsProtectedAllTheSame() throws {
        let (status, epochs) = try protect(adaptive, epochs: 8)
        #expect(status.acked ?? 0 >= 8)
        // Before the first epoch nobody had asked.
        #expect(guest.looks > 0 && guest.looks <= epochs + 1)
    }

    @Test func nobodyAsksWhereTheIntervalIsFixed() throws {
        guest.claim(dirty: .max)
        let (status, _) = try protect(.fixed(.milliseconds(20)), epochs: 8)
        #expect(guest.looks == 0 && status.interval == .milliseconds(20))
    }
}
