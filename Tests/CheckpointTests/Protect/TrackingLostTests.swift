import Checkpoint
import Testing

/// What is dirty is no longer known: all of memory again, and nothing released before that is acknowledged.
@Suite struct TrackingLostTests {
    private func sendsAllAgain(_ primary: PrimaryUnderTest) {
        let session = primary.machine.session
        #expect(!primary.isSuspended)
        #expect(primary.machine.status.plugClosed)
        primary.connect()
        #expect(primary.hellos.last?.imageStillValid == true)
        #expect(primary.hellos.last?.ackedEpoch == nil)
        primary.hear(Sample.welcome(keepsOlder: true))
        #expect(primary.machine.session == session)
        #expect(primary.effects.suffix(5).contains(.startTracking))
        #expect(primary.effects.suffix(5).contains(.syncRound(epoch: 0, whole: true)))
        primary.harvest = .whole(pages: 1)
        primary.runUntilSent(0)
        #expect(primary.visible < primary.output)
        primary.ack(0)
        #expect(primary.state == .protected)
    }

    @Test func whileTheGuestIsSuspended() {
        let primary = PrimaryUnderTest.protected()
        let (cuts, session) = (primary.count(\.isCut), primary.machine.session)
        primary.harvest = .trackingLost("void")
        while primary.machine.session == session { primary.advance(.milliseconds(10)) }
        #expect(primary.count(\.isCut) == cuts)
        #expect(primary.reports.contains(.trackingLost("void")))
        sendsAllAgain(primary)
    }

    @Test func whileTheGuestRuns() {
        let primary = PrimaryUnderTest.protected()
        primary.dispatch(.trackingLost("void"))
        sendsAllAgain(primary)
    }

    @Test func whileASuspendIsAwaited() {
        let primary = PrimaryUnderTest.protected()
        primary.suspendAnswer = nil
        primary.run(.milliseconds(60), beating: true)
        #expect(primary.asksToSuspend)
        primary.suspendAnswer = .suspended
        primary.dispatch(.trackingLost("void"))
        #expect(primary.has(.resume))
        primary.suspendsTooLate()
        sendsAllAgain(primary)
    }

    @Test func whileAnEpochIsInFlight() {
        let primary = PrimaryUnderTest.protected()
        primary.runUntilSent(1)
        let releases = primary.count { if case .release = $0 { true } else { false } }
        primary.dispatch(.trackingLost("void"))
        #expect(primary.count { if case .release = $0 { true } else { false } } == releases)
        sendsAllAgain(primary)
    }

    @Test func aResumeThatFailsIsTriedAgainFirst() {
        let primary = PrimaryUnderTest.protected()
        primary.resumeFails = true
        primary.harvest = .trackingLost("void")
        while !primary.isSuspended { primary.advance(.milliseconds(10)) }
        let attempts = primary.attempts
        primary.run(.seconds(1))
        #expect(primary.isSuspended && primary.attempts == attempts)
        primary.resumeFails = false
        primary.run(.milliseconds(210))
        sendsAllAgain(primary)
    }

    @Test func itIsBoundedWhenItNeverSucceeds() {
        let primary = PrimaryUnderTest.protected()
        primary.dispatch(.trackingLost("void"))
        for _ in 0..<100 where primary.count(\.isPlannedEnd) == 0 {
            primary.connect()
            primary.hear(Sample.welcome(keepsOlder: true))
            primary.dispatch(.trackingLost("void"))
        }
        #expect(primary.count(\.isPlannedEnd) == 1)
    }

    /// The longest pause counts from when the guest stopped, not from when that was told.
    @Test(arguments: [(UInt64(400), true), (600, false)])
    func thePauseCountsFromItsBeginning(_ earlier: UInt64, _ cuts: Bool) {
        let primary = PrimaryUnderTest.protected()
        primary.suspendAnswer = nil
        while !primary.asksToSuspend { primary.advance(.milliseconds(10)) }
        let before = primary.count(\.isCut)
        primary.suspends(since: primary.now, tellingAfter: .milliseconds(earlier))
        #expect((primary.count(\.isCut) > before) == cuts)
        #expect(!primary.isSuspended)
    }
}
