import Checkpoint
import Testing

@Suite struct AbandonedTests {
    @Test(arguments: [HarvestResult.late, .overCapacity(pages: 99), .failed("gone")])
    func abandonedCheckpointNeverCuts(_ result: HarvestResult) {
        let primary = PrimaryUnderTest.protected()
        let cuts = primary.count(\.isCut)
        primary.harvest = result
        primary.run(.milliseconds(60), beating: true)
        #expect(primary.count(\.isCut) == cuts)
        #expect(!primary.isSuspended)
        #expect(primary.has(.syncRound(epoch: 1, whole: false)))
        primary.harvest = .whole(pages: 1)
        primary.runUntilSent(1)
        primary.ack(1)
        #expect(primary.has(.release(epoch: 1)))
    }

    @Test func suspendRefusedIsSaidOnce() {
        let primary = PrimaryUnderTest.protected()
        primary.suspendAnswer = .refused
        primary.run(.seconds(4), beating: true)
        #expect(primary.state == .suspendRefused)
        #expect(primary.reports.count { $0 == .suspendRefused } == 1)
        primary.suspendAnswer = .suspended
        primary.runUntilSent(1)
        primary.ack(1)
        #expect(primary.state == .protected)
    }

    /// Paused for longer than anything else may last: nothing is given up, and nothing let go.
    @Test func aPausedGuestIsAStateAndNoFailure() {
        let primary = PrimaryUnderTest.protected()
        let acked = primary.machine.status.acked
        primary.suspendAnswer = .paused
        primary.run(.seconds(30), beating: true)
        #expect(primary.state == .protected)
        #expect(primary.machine.status.guestPaused)
        #expect(!primary.has(.releaseAll))
        #expect(primary.machine.status.acked == acked)
        primary.suspendAnswer = .suspended
        primary.runUntilSent(1)
        primary.ack(1)
        #expect(!primary.machine.status.guestPaused)
        #expect(primary.machine.status.acked == 1)
    }

    @Test func suspendThatComesTooLateIsUndone() {
        let primary = PrimaryUnderTest.protected()
        primary.suspendAnswer = .refused
        primary.run(.milliseconds(60), beating: true)
        primary.suspendsTooLate()
        #expect(!primary.isSuspended)
    }

    @Test func failedCutResumes() {
        let primary = PrimaryUnderTest.protected()
        primary.cutFails = true
        primary.run(.milliseconds(60), beating: true)
        #expect(!primary.isSuspended)
        primary.cutFails = false
        primary.runUntilSent(1)
        primary.ack(1)
        #expect(primary.machine.status.acked == 1)
    }

    @Test func failedResumeIsTriedAgain() {
        let primary = PrimaryUnderTest.protected()
        primary.resumeFails = true
        primary.run(.milliseconds(100), beating: true)
        #expect(primary.isSuspended)
        primary.resumeFails = false
        primary.run(.milliseconds(300), beating: true)
        #expect(!primary.isSuspended)
    }

    @Test func stalledProtectionEndsInTwoPhasesAndComesBack() {
        let primary = PrimaryUnderTest.protected()
        primary.harvest = .late
        primary.run(.seconds(11), beating: true)
        #expect(primary.has(.send(.plannedEnd(PlannedEnd(reason: .continueAlone, generation: 6)))))
        #expect(!primary.has(.releaseAll))
        primary.hear(.plannedEndAnswer(.dropped, generation: 6))
        #expect(primary.has(.releaseAll))
        #expect(primary.visible == primary.output)
        primary.harvest = .whole(pages: 1)
        primary.run(.seconds(11))
        primary.link()
        primary.runUntilSent(0)
        primary.ack(0)
        #expect(primary.state == .protected)
        #expect(primary.machine.status.generation == 6)
    }
}
