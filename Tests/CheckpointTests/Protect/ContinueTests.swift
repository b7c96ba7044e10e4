import Checkpoint
import Testing

/// Somebody's word on the primary: `continue` wherever it holds, `resolve` after a split.
@Suite struct ContinueTests {
    private static func settings(_ arbitration: Arbitration) -> ProtectSettings {
        var settings = ProtectSettings()
        settings.arbitration = arbitration
        return settings
    }

    private func protected(_ arbitration: Arbitration) -> PrimaryUnderTest {
        let primary = PrimaryUnderTest(Self.settings(arbitration))
        primary.grant()
        primary.link()
        for number: UInt64 in 0...1 {
            primary.runUntilSent(number)
            primary.ack(number)
        }
        return primary
    }

    @Test func aPersonIsWaitedForForEver() {
        let primary = protected(.arbiter(decides: false))
        let seen = primary.visible
        primary.run(.seconds(600))
        #expect(primary.state == .peerLost && primary.visible == seen && primary.asked.isEmpty)
        primary.dispatch(.continueRequested)
        #expect(primary.state == .alone && primary.visible == primary.output && primary.stored == 6)
    }

    @Test func itShortensTheWaitOfPreferPrimary() {
        let primary = protected(.preferPrimary)
        primary.loseConnection()
        primary.dispatch(.continueRequested)
        #expect(primary.state == .alone && primary.stored == 6)
    }

    @Test func itStandsInForAnArbiterThatDoesNotAnswer() throws {
        let primary = protected(.arbiter(decides: true))
        primary.run(.seconds(2))
        primary.dispatch(.arbiterAnswered(.unavailable("down")))
        primary.dispatch(.continueRequested)
        #expect(primary.state == .alone && primary.stored == 7)
        // No session begins before the arbiter's record says so too; an older wish comes first.
        primary.run(.seconds(30))
        #expect(primary.connection == nil)
        #expect(
            primary.asked.last?.wanted == primary.asked[1].wanted && primary.asked.last?.usedBefore == false
        )
        primary.grant()
        primary.connect()
        #expect(primary.hellos.last?.generation == 7)
    }

    @Test func aGrantToTheStandbyAfterItIsASplit() {
        let primary = protected(.arbiter(decides: true))
        primary.run(.seconds(2))
        primary.dispatch(.arbiterAnswered(.unavailable("down")))
        primary.dispatch(.continueRequested)
        primary.dispatch(.arbiterAnswered(.denied(by: ArbiterTests.beta(7))))
        #expect(primary.state == .splitBrain && !primary.has(.dropAll))
    }

    @Test func theArbitersOwnAnswerComesFirst() {
        func continued() -> PrimaryUnderTest {
            let primary = protected(.arbiter(decides: true))
            primary.loseConnection()
            primary.dispatch(.continueRequested)
            #expect(primary.state == .peerLost && !primary.has(.releaseAll) && primary.asked.count == 2)
            return primary
        }
        let denied = continued()
        denied.dispatch(.arbiterAnswered(.denied(by: ArbiterTests.beta(7))))
        #expect(denied.state == .outdated && !denied.has(.releaseAll), "the standby was activated before")
        let granted = continued()
        granted.grant()
        #expect(granted.state == .alone && granted.stored == 7)
        for answer in [GrantAnswer.unavailable("down"), .memoryLost(found: nil)] {
            let unanswered = continued()
            unanswered.dispatch(.arbiterAnswered(answer))
            #expect(unanswered.state == .alone && unanswered.visible == unanswered.output)
        }
        let back = continued()
        back.connect()
        back.hear(Sample.welcome(committed: 1))
        back.dispatch(.arbiterAnswered(.unavailable("down")))
        back.run(.seconds(1), beating: true)
        #expect(!back.has(.releaseAll) && back.state == .protected)
    }

    @Test func itMeansNothingWhileTheStandbyIsThere() {
        let primary = protected(.preferPrimary)
        primary.dispatch(.continueRequested)
        primary.run(.seconds(1), beating: true)
        #expect(primary.state == .protected && !primary.has(.releaseAll))
        primary.loseConnection()
        primary.run(.seconds(2))
        #expect(primary.state == .peerLost, "said too early, it is not kept for later")
    }

    @Test(arguments: [Arbitration.preferPrimary, .arbiter(decides: true)])
    func aCopyThatIsKeptTakesAHigherGeneration(_ arbitration: Arbitration) {
        let primary = split(arbitration)
        let generation = primary.stored
        primary.dispatch(.resolveRequested(keepsThis: true))
        primary.grant()
        #expect(primary.state == .alone && primary.stored == generation + 1)
        primary.connect()
        #expect(primary.hellos.last?.generation == generation + 1)
        #expect(primary.hellos.last?.imageStillValid == false)
        primary.hear(Sample.welcome())
        #expect(primary.state == .syncing)
    }

    @Test func theOtherIsOutdatedForGood() {
        let primary = split(.preferPrimary)
        let seen = primary.visible
        primary.dispatch(.resolveRequested(keepsThis: false))
        #expect(primary.state == .outdated && primary.outdatedBy == 6 && primary.has(.dropAll))
        primary.dispatch(.resolveRequested(keepsThis: true))
        primary.run(.seconds(30))
        #expect(primary.state == .outdated && primary.visible <= seen)
    }

    private func split(_ arbitration: Arbitration) -> PrimaryUnderTest {
        let primary = protected(arbitration)
        primary.loseConnection()
        primary.dispatch(.continueRequested)
        if arbitration.decides { primary.grant() }
        primary.connect()
        primary.hear(Sample.refusal(.active, generation: primary.stored))
        return primary
    }
}
