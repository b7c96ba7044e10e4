import Checkpoint
import Testing

/// A guest is not left suspended, whatever becomes of the session meanwhile (promise R5).
@Suite struct ResumeTests {
    /// Protected, and an attempt to resume has failed.
    private func stuck(cutting: Bool = true) -> PrimaryUnderTest {
        let primary = PrimaryUnderTest.protected()
        primary.resumeFails = true
        if !cutting { primary.harvest = .late }
        for _ in 0..<20 where !primary.isSuspended { primary.advance(.milliseconds(10)) }
        #expect(primary.isSuspended)
        return primary
    }

    @Test(arguments: [true, false])
    func aFailedResumeIsTriedAgainAndTheCheckpointGoesOn(_ cutting: Bool) {
        let primary = stuck(cutting: cutting)
        primary.run(.milliseconds(500), beating: true)
        #expect(primary.reports.count { $0 == .operationFailed("resume") } == 1)
        primary.resumeFails = false
        primary.harvest = .whole(pages: 1)
        primary.run(.milliseconds(300), beating: true)
        #expect(!primary.isSuspended)
        primary.runUntilSent(1)
        primary.ack(1)
        #expect(primary.machine.status.acked == 1)
    }

    @Test func aFailedResumeSurvivesAnOutdatedCopy() {
        let primary = stuck()
        primary.hear(Sample.refusal(.active, generation: 9))
        #expect(primary.state == .outdated && primary.isSuspended)
        primary.resumeFails = false
        primary.run(.milliseconds(300))
        #expect(!primary.isSuspended)
    }

    @Test func aFailedResumeSurvivesAnAnsweredPlannedEnd() {
        let primary = PrimaryUnderTest.protected()
        primary.harvest = .late
        while primary.reports.isEmpty || !primary.reports.contains(where: \.isAbandoned) {
            primary.advance(.milliseconds(10))
        }
        // No checkpoint for `aloneAfter`: the next that is abandoned begins the end, and its resume fails.
        primary.run(.seconds(10), beating: true)
        #expect(primary.count(\.isPlannedEnd) == 0)
        primary.resumeFails = true
        primary.run(.milliseconds(100), beating: true)
        #expect(primary.isSuspended && primary.count(\.isPlannedEnd) == 1)
        primary.hear(.plannedEndAnswer(.dropped, generation: 6))
        #expect(primary.isSuspended && primary.has(.releaseAll))
        let suspends = primary.count(\.isSuspend)
        primary.run(.seconds(1))
        #expect(primary.count(\.isSuspend) == suspends)
        primary.resumeFails = false
        primary.run(.milliseconds(300))
        #expect(!primary.isSuspended)
        // And it can be protected again.
        primary.harvest = .whole(pages: 1)
        primary.run(.seconds(11))
        primary.link()
        primary.runUntilSent(0)
        primary.ack(0)
        #expect(primary.state == .protected)
    }

    @Test func whileAResumeIsOwedNothingIsSuspendedAndNothingConnected() {
        let primary = stuck()
        primary.loseConnection()
        let (suspends, attempts) = (primary.count(\.isSuspend), primary.attempts)
        primary.run(.seconds(3))
        #expect(primary.count(\.isSuspend) == suspends)
        #expect(primary.attempts == attempts)
        primary.resumeFails = false
        primary.run(.seconds(1))
        #expect(!primary.isSuspended && primary.attempts > attempts)
    }

    @Test func anotherFailureIsNotTakenForTheResumes() {
        let primary = stuck()
        primary.dispatch(.failed("something else"))
        #expect(primary.machine.status.lastLoss?.text == "connection lost: something else")
        primary.resumeFails = false
        primary.run(.milliseconds(250))
        #expect(!primary.isSuspended)
        #expect(primary.count { $0 == .resume } >= 2)
    }

    @Test func aSuspendThatCameTooLateAndDoesNotResumeIsTriedAgain() {
        let primary = PrimaryUnderTest.protected()
        primary.suspendAnswer = .refused
        primary.run(.milliseconds(60), beating: true)
        primary.resumeFails = true
        primary.suspendsTooLate()
        primary.suspendAnswer = .suspended
        primary.run(.seconds(2), beating: true)
        #expect(primary.isSuspended)
        primary.resumeFails = false
        primary.run(.milliseconds(300), beating: true)
        #expect(!primary.isSuspended)
        primary.runUntilSent(1)
        #expect(primary.machine.status.sent == 1)
    }

    @Test func aGuestThatEndedIsNotResumed() {
        let primary = stuck()
        let resumes = primary.count { $0 == .resume }
        primary.dispatch(.guestEnded(.crashed))
        primary.run(.seconds(1), beating: true)
        #expect(primary.count { $0 == .resume } == resumes)
    }

    @Test func unprotectWhileAResumeIsOwedEndsWithOneMoreAttempt() {
        let primary = stuck()
        primary.dispatch(.unprotectRequested)
        #expect(primary.result == nil)
        primary.hear(.plannedEndAnswer(.dropped, generation: 6))
        #expect(primary.result == .ended(.unprotect, .dropped))
        #expect(primary.effects.suffix(5).contains(.resume))
    }
}

extension ProtectReport {
    var isAbandoned: Bool { if case .checkpointAbandoned = self { true } else { false } }
}
