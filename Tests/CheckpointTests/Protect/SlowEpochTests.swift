import Checkpoint
import Testing

/// An epoch that takes longer to send than acknowledgements are waited for (promises R2 and R4).
@Suite struct SlowEpochTests {
    /// A primary whose epoch 1 is on its way and moves for `time`.
    private func sending(for time: UInt64) -> PrimaryUnderTest {
        let primary = PrimaryUnderTest.protected()
        primary.runUntilSent(1)
        for _ in 0..<time / 100 {
            primary.run(.milliseconds(100), beating: true)
            primary.dispatch(.epochAdvanced)
        }
        return primary
    }

    @Test func itIsWaitedForAsLongAsItMoves() {
        let primary = sending(for: 8000)
        #expect(primary.attempts == 1 && !primary.has(.release(epoch: 1)))
        primary.ack(1)
        #expect(primary.has(.release(epoch: 1)) && primary.attempts == 1)
        primary.runUntilSent(2)
    }

    @Test func oneThatStopsIsSentAgain() {
        let primary = sending(for: 4000)
        primary.run(.milliseconds(1900), beating: true)
        #expect(primary.attempts == 1)
        primary.run(.milliseconds(500), beating: true)
        #expect(primary.reports.contains(.linkLost(.notAcknowledging)))
        #expect(!primary.has(.releaseAll))
    }

    /// What came while this side was away is not known yet: an ack may be the next thing that is read.
    @Test func nobodyIsBlamedForTimeThatThisSideWasAway() {
        let primary = sending(for: 1000)
        primary.advance(.seconds(3))
        primary.beat()
        #expect(primary.attempts == 1 && !primary.reports.contains(.linkLost(.notAcknowledging)))
        primary.ack(1)
        #expect(primary.has(.release(epoch: 1)) && primary.attempts == 1)
    }

    /// Sent again it would take as long again: output is not held for it beyond alone-after, nor let go before the image is.
    @Test func oneThatMovesForTooLongEndsProtectionInTwoPhases() {
        let primary = sending(for: 9900)
        #expect(!primary.has(.send(.plannedEnd(PlannedEnd(reason: .continueAlone, generation: 6)))))
        primary.run(.milliseconds(300), beating: true)
        #expect(primary.has(.send(.plannedEnd(PlannedEnd(reason: .continueAlone, generation: 6)))))
        #expect(!primary.has(.releaseAll))
        primary.hear(.plannedEndAnswer(.dropped, generation: 6))
        #expect(primary.has(.releaseAll) && primary.visible == primary.output)
        primary.run(.seconds(11))
        primary.link()
        primary.runUntilSent(0)
        primary.ack(0)
        #expect(primary.state == .protected)
    }

    // MARK: Sweeps

    private func sweeping() -> PrimaryUnderTest {
        let primary = PrimaryUnderTest.protected()
        primary.suspendAnswer = nil
        while !primary.asksToSuspend { primary.run(.milliseconds(10), beating: true) }
        primary.wantsSweep()
        return primary
    }

    @Test func whatChangedAtOnceIsSentBeforeTheGuestIsSuspended() {
        let primary = sweeping()
        #expect(primary.has(.syncRound(epoch: 1, whole: false)) && !primary.isSuspended)
        #expect(!primary.has(.cut(epoch: 1)))
        primary.suspendAnswer = .suspended
        primary.runUntilSent(1)
        primary.ack(1)
        #expect(primary.has(.release(epoch: 1)))
    }

    /// Its epoch is made anew under its number, and output waits for that.
    @Test func anEpochWhoseSweepWentOverALostConnectionIsMadeAnew() {
        let primary = sweeping()
        primary.suspendAnswer = .suspended
        primary.runUntilSent(1)
        primary.loseConnection()
        primary.connect()
        #expect(primary.hellos.map(\.session) == [9])
        primary.hear(Sample.welcome(committed: 0))
        #expect(primary.has(.absorb) && primary.has(.requeueSentPages))
        #expect(!primary.has(.release(epoch: 1)))
        let output = primary.output
        primary.runUntilSent(1)
        #expect(!primary.has(.release(epoch: 1)) && primary.visible < output)
        primary.ack(1)
        #expect(primary.has(.release(epoch: 1)) && primary.visible >= output)
        primary.runUntilSent(2)
        primary.ack(2)
    }

    /// And if it was committed, only the ack being lost, it is not.
    @Test func anEpochWhoseSweepWentAndThatIsCommittedIsReleased() {
        let primary = sweeping()
        primary.suspendAnswer = .suspended
        primary.runUntilSent(1)
        primary.loseConnection()
        primary.connect()
        primary.hear(Sample.welcome(committed: 1))
        #expect(primary.has(.release(epoch: 1)) && !primary.has(.requeueSentPages))
    }
}
