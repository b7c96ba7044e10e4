import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// A real engine and a real standby over loopback: what comes between a suspend request and the copying.
@Suite(.timeLimit(.minutes(2))) struct PauseTests {
    @Test func aGuestThatStandsStillAtOnceIsNotWaitedFor() throws {
        let guest = WritingGuest(pages: 64, seed: 9)
        guest.write(epochs: 4)
        let pair = try LoopbackPair(guest)
        let output = FakeOutput()
        output.isAsked = { guest.noteRound() }
        let (engine, thread) = try pair.protect(with: output) { $0.settings.interval = .milliseconds(5) }
        let deadline = Clock.monotonic + 60_000_000_000
        while (engine.snapshot.status.acked ?? 0) < 8, Clock.monotonic < deadline { usleep(1000) }
        let acked = engine.snapshot.status.acked ?? 0
        pair.end(engine, thread)
        #expect(acked >= 8)
        #expect(guest.roundsUnseen == 0)
    }
}
