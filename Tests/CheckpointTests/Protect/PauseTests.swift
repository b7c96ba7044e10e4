import Checkpoint
import Testing

@Suite struct PauseTests {
    /// A beat is due in each of these checkpoints: `PrimaryUnderTest` lets nothing but the resume follow the cut.
    @Test func aBeatThatIsDueWaitsForTheResume() throws {
        var settings = ProtectSettings()
        settings.heartbeat = .milliseconds(1)
        settings.interval = .milliseconds(5)
        let primary = PrimaryUnderTest.protected(settings)
        for epoch in UInt64(1)...20 {
            primary.suspendAnswer = nil
            primary.run(.milliseconds(10), step: .milliseconds(1))
            primary.beat()
            // The beat and the end of the suspension come due together.
            primary.suspendAnswer = .suspended
            primary.now = primary.now + .milliseconds(2)
            primary.turn()
            primary.run(.milliseconds(2), step: .milliseconds(1))
            #expect(primary.machine.status.sent == epoch)
            primary.ack(epoch)
        }
        for (index, effect) in primary.effects.enumerated() where effect.isCut || effect.isHarvest {
            let next = primary.effects[primary.effects.index(after: index)]
            #expect(effect.isCut ? next == .resume : next.isCut, "\(next) after \(effect)")
        }
    }

    @Test func aFirstCutThatFailedIsUndone() throws {
        let primary = PrimaryUnderTest()
        primary.link()
        primary.cutFails = true
        primary.run(.milliseconds(20))
        #expect(!primary.isSuspended && primary.has(.releaseAll))
        primary.cutFails = false
        primary.runUntilSent(0)
        primary.ack(0)
        #expect(primary.state == .protected)
        // A later one that failed leaves what is held as it is.
        let releases = primary.count { $0 == .releaseAll }
        primary.cutFails = true
        primary.run(.milliseconds(200), beating: true)
        #expect(primary.count { $0 == .releaseAll } == releases)
    }

    /// The loop comes round once a beat: late by more than one is to be away for more than two (design, section 3).
    @Test(arguments: [(UInt64(200), true), (201, false), (250, false), (301, false)])
    func theTimeToGoAloneBeginsAnewAfterALateLoop(_ absence: UInt64, _ goesAlone: Bool) {
        let primary = PrimaryUnderTest.protected()
        primary.beat()
        primary.loseConnection()
        primary.run(.milliseconds(9_000))
        primary.advance(.milliseconds(absence))
        primary.run(.milliseconds(1_500))
        #expect((primary.state == .alone) == goesAlone)
        primary.run(.milliseconds(9_000))
        #expect(primary.state == .alone)
    }
}

extension ProtectEffect {
    var isHarvest: Bool { if case .harvest = self { true } else { false } }
}
