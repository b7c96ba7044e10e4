import Checkpoint
import Testing

/// A guest with a disk that nobody replicates is paused while it may be running elsewhere.
@Suite struct StandstillTests {
    private static func settings(_ arbitration: Arbitration, disk: Bool = true) -> ProtectSettings {
        var settings = ProtectSettings()
        settings.arbitration = arbitration
        settings.hasUnreplicatedDisk = disk
        return settings
    }

    /// Epoch 1 is acknowledged.
    private func protected(_ arbitration: Arbitration = .arbiter(decides: true), disk: Bool = true)
        -> PrimaryUnderTest
    {
        let primary = PrimaryUnderTest(Self.settings(arbitration, disk: disk))
        primary.grant()
        primary.link()
        for number: UInt64 in 0...1 {
            primary.runUntilSent(number)
            primary.ack(number)
        }
        return primary
    }

    /// The standby went silent, and the arbiter is asked.
    private func asking() -> PrimaryUnderTest {
        let primary = protected()
        #expect(!primary.has(.pauseGuest), "nothing is held at the start")
        primary.run(.milliseconds(900))
        #expect(!primary.standsStill)
        primary.run(.milliseconds(400))
        #expect(primary.standsStill && primary.machine.status.standsStill)
        return primary
    }

    @Test func itStandsStillBeforeAnythingIsAsked() throws {
        let primary = asking()
        let paused = try #require(primary.effects.firstIndex(of: .pauseGuest))
        let asked = try #require(
            primary.effects.lastIndex { if case .askArbiter = $0 { true } else { false } }
        )
        #expect(paused < asked)
    }

    @Test func itRunsAgainByTheGrantOnceThatIsWrittenDown() throws {
        let primary = asking()
        primary.storeFails = true
        primary.grant()
        primary.run(.seconds(5))
        #expect(primary.standsStill)
        primary.storeFails = false
        primary.run(.seconds(2))
        #expect(primary.state == .alone && !primary.standsStill)
    }

    @Test func withoutAnAnswerItStandsStill() {
        let primary = asking()
        let said = primary.output
        primary.dispatch(.arbiterAnswered(.unavailable("down")))
        primary.run(.seconds(600))
        #expect(primary.standsStill && primary.output == said && primary.asked.count == 3)
        primary.dispatch(.arbiterAnswered(.unavailable("down")))
        primary.dispatch(.continueRequested)
        #expect(primary.state == .alone && !primary.standsStill)
    }

    @Test func outdatedItStandsStillForGood() {
        let primary = asking()
        primary.dispatch(.arbiterAnswered(.denied(by: ArbiterTests.beta(7))))
        primary.run(.seconds(60))
        #expect(primary.state == .outdated && primary.standsStill)
        primary.dispatch(.unprotectRequested)
        #expect(primary.result == .outdated(.unprotect) && primary.standsStill)
    }

    @Test func anActiveStandbyStopsACopyThatRuns() {
        let primary = protected()
        primary.loseConnection()
        primary.connect()
        primary.hear(Sample.refusal(.active, generation: 7))
        #expect(primary.state == .outdated && primary.standsStill)
    }

    @Test func aSessionThatGoesOnLetsItRun() {
        let primary = asking()
        primary.connect()
        #expect(primary.standsStill, "until the standby has answered")
        primary.hear(Sample.welcome(committed: 1))
        #expect(!primary.standsStill)
        primary.run(.seconds(1), beating: true)
        primary.runUntilSent(2)
        primary.ack(2)
        #expect(primary.state == .protected)
        // The question is open still: lost again, it stands still again.
        primary.loseConnection()
        primary.run(.seconds(6))
        #expect(primary.standsStill)
    }

    @Test func aStandbyWithoutAnImageLetsItRun() {
        let primary = asking()
        primary.connect()
        primary.hear(Sample.welcome())
        #expect(primary.state == .syncing && !primary.standsStill)
    }

    @Test func anOlderImageThatIsKeptLetsItRunToo() {
        let primary = asking()
        primary.connect()
        primary.hear(Sample.welcome(keepsOlder: true))
        #expect(primary.state == .syncing && !primary.standsStill && primary.has(.absorb))
    }

    @Test func aPersonIsWaitedForStandingStill() {
        let primary = protected(.arbiter(decides: false))
        primary.run(.seconds(9))
        #expect(!primary.standsStill)
        primary.run(.seconds(600))
        #expect(primary.standsStill)
        primary.storeFails = true
        primary.dispatch(.continueRequested)
        primary.run(.seconds(3))
        #expect(primary.standsStill, "until it is written down")
        primary.storeFails = false
        primary.run(.seconds(2))
        #expect(primary.state == .alone && !primary.standsStill)
    }

    @Test(arguments: [true, false]) func aRestartKeepsItStill(decides: Bool) {
        let first = protected(.arbiter(decides: decides))
        first.passWithoutProtect(.seconds(1), guestRuns: false)
        let second = PrimaryUnderTest(after: first, session: 100, at: first.now)
        #expect(second.standsStill, "whoever was there before it")
        if decides {
            second.dispatch(.arbiterAnswered(.unavailable("down")))
            second.run(.seconds(6))
            #expect(second.standsStill)
            second.grant()
            #expect(!second.standsStill, "nobody else can have it")
        } else {
            second.run(.seconds(6))
            #expect(second.standsStill)
            second.connect()
            second.hear(Sample.welcome(keepsOlder: true))
            #expect(!second.standsStill)
        }
    }

    @Test func aPlannedEndLetsItRun() {
        let primary = asking()
        primary.dispatch(.unprotectRequested)
        primary.run(.seconds(10))
        #expect(primary.result == nil && primary.standsStill)
        primary.grant()
        #expect(primary.result == .unanswered(.unprotect) && !primary.standsStill)
    }

    @Test func aGuestThatEndedHasNothingToStandStill() {
        let primary = asking()
        primary.dispatch(.guestEnded(.crashed))
        #expect(!primary.standsStill)
    }

    @Test(arguments: [(Arbitration.preferPrimary, true), (.arbiter(decides: true), false)])
    func elseNothingStandsStill(_ arbitration: Arbitration, _ disk: Bool) {
        let primary = protected(arbitration, disk: disk)
        primary.run(.seconds(30))
        primary.dispatch(.arbiterAnswered(.denied(by: ArbiterTests.beta(7))))
        #expect(!primary.has(.pauseGuest) && !primary.has(.unpauseGuest))
    }
}
