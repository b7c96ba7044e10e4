import Checkpoint
import Testing

/// A primary whose arbiter decides: it goes on alone by a grant, or somebody's word, and never by time.
@Suite struct ArbiterTests {
    private static var settings: ProtectSettings {
        var settings = ProtectSettings()
        settings.arbitration = .arbiter(decides: true)
        return settings
    }

    /// Began, granted generation 6, and protected.
    private func protected(epoch: UInt64 = 1) -> PrimaryUnderTest {
        let primary = PrimaryUnderTest(Self.settings)
        primary.grant()
        primary.link()
        for number in 0...epoch {
            primary.runUntilSent(number)
            primary.ack(number)
        }
        return primary
    }

    /// The same, whose standby went silent: it has asked.
    private func asking() -> PrimaryUnderTest {
        let primary = protected()
        primary.run(.seconds(2))
        return primary
    }

    // MARK: The beginning

    @Test func nothingBeginsBeforeTheGenerationIsGranted() throws {
        let primary = PrimaryUnderTest(Self.settings)
        primary.run(.seconds(30))
        let request = try #require(primary.asked.first)
        #expect(request.from == 5 && request.wanted.generation == 6 && request.usedBefore)
        #expect(primary.attempts == 0 && primary.stored == 5)
        primary.grant()
        #expect(primary.stored == 6)
        primary.connect()
        #expect(primary.hellos.first?.generation == 6)
    }

    @Test(arguments: [
        (GrantAnswer.unavailable("down"), ProtectResult.noGrant("down")),
        (.denied(by: Self.beta(7)), .denied(Self.beta(7))),
        (.memoryLost(found: nil), .noGrant("the arbiter lost its memory: it has no record of this guest")),
    ])
    func withNothingHeldAFirstStartIsRefused(_ answer: GrantAnswer, _ result: ProtectResult) {
        let primary = PrimaryUnderTest(Self.settings)
        primary.dispatch(.arbiterAnswered(answer))
        #expect(primary.result == result && primary.attempts == 0 && !primary.has(.releaseAll))
    }

    @Test(arguments: [
        GrantAnswer.unavailable("down"), .memoryLost(found: nil), .memoryLost(found: Self.beta(2)),
    ])
    func overAClosedPlugItHoldsAndAsksAgainWithTheSameId(_ answer: GrantAnswer) {
        let primary = restarted()
        let seen = primary.visible
        for _ in 0..<5 {
            primary.dispatch(.arbiterAnswered(answer))
            primary.run(.seconds(6))
        }
        #expect(primary.state == .peerLost && primary.attempts == 0 && primary.visible == seen)
        #expect(primary.asked.count == 6 && Set(primary.asked.map(\.wanted)).count == 1)
        #expect(primary.machine.status.arbiterTrouble != nil && primary.machine.status.mayContinue)
        primary.grant()
        primary.connect()
        #expect(primary.hellos.first?.imageStillValid == true && primary.hellos.first?.generation == 7)
        #expect(primary.visible == seen)
    }

    @Test func aRestartDoesNotOutrankAnActivation() {
        let primary = restarted()
        primary.dispatch(.arbiterAnswered(.denied(by: Self.beta(7))))
        #expect(primary.state == .outdated && primary.outdatedBy == 7 && primary.has(.dropAll))
    }

    private func restarted() -> PrimaryUnderTest {
        let first = protected()
        first.passWithoutProtect(.seconds(1), guestRuns: true)
        return PrimaryUnderTest(after: first, session: 100, at: first.now)
    }

    // MARK: The link is lost

    @Test func silenceAsksAtOnceAndAnEndOfTheStandbyLater() {
        let silent = protected()
        silent.run(.milliseconds(900))
        #expect(silent.asked.count == 1)
        silent.run(.milliseconds(400))
        #expect(silent.asked.count == 2)
        let reset = protected()
        reset.loseConnection()
        for _ in 0..<20 {
            reset.run(.milliseconds(200))
            reset.loseConnection(.connectFailed("refused"))
        }
        #expect(reset.asked.count == 1, "it may come back within half of alone-after")
        reset.run(.seconds(2))
        #expect(reset.asked.count == 2)
    }

    @Test func withoutAnAnswerItHoldsForEver() {
        let primary = asking()
        let seen = primary.visible
        primary.run(.seconds(600))
        #expect(primary.state == .peerLost && primary.visible == seen && primary.asked.count == 2)
        primary.dispatch(.arbiterAnswered(.unavailable("down")))
        primary.run(.seconds(60))
        #expect(primary.visible == seen && !primary.has(.releaseAll) && primary.asked.count == 3)
    }

    @Test func grantedItIsWrittenDownAndThenLetsGo() throws {
        let primary = asking()
        primary.grant()
        #expect(primary.state == .alone && primary.stored == 7 && primary.visible == primary.output)
        let written = try #require(
            primary.effects.lastIndex { if case .storeGrant = $0 { true } else { false } }
        )
        let released = try #require(primary.effects.firstIndex(of: .releaseAll))
        #expect(written < released)
    }

    @Test func aGrantThatCannotBeWrittenDownPermitsNothingYet() {
        let primary = asking()
        primary.storeFails = true
        primary.grant()
        primary.run(.seconds(5))
        #expect(primary.state == .peerLost && !primary.has(.releaseAll))
        primary.storeFails = false
        primary.run(.seconds(2))
        #expect(primary.state == .alone && primary.stored == 7)
    }

    @Test func deniedItIsOutdated() {
        let primary = asking()
        let seen = primary.visible
        primary.dispatch(.arbiterAnswered(.denied(by: Self.beta(7))))
        #expect(primary.state == .outdated && primary.outdatedBy == 7)
        primary.run(.seconds(60))
        #expect(primary.visible == seen && primary.has(.dropAll))
    }

    @Test func aStandbyThatAnswersNothingElseChangesNothingOfThat() {
        // Time alone permits nothing, however the connection flaps.
        let primary = protected()
        for _ in 0..<30 {
            primary.loseConnection()
            primary.run(.seconds(1))
        }
        #expect(!primary.has(.releaseAll) && primary.state == .peerLost)
    }

    // MARK: The standby comes back first

    @Test func aStandbyWithoutAnImageLetsItGoAtOnce() {
        let primary = asking()
        primary.connect()
        primary.hear(Sample.welcome())
        #expect(primary.visible == primary.output && primary.state == .syncing)
        #expect(!primary.machine.status.protected)
    }

    @Test func anActiveStandbyMakesItOutdated() {
        let primary = asking()
        primary.connect()
        primary.hear(Sample.refusal(.active, generation: 7))
        #expect(primary.state == .outdated)
        primary.grant()
        primary.run(.seconds(10))
        #expect(primary.state == .outdated && !primary.has(.releaseAll), "an answer that comes late is none")
    }

    @Test func aSessionThatGoesOnIsNotCalledProtectedUntilTheAnswerIsKnown() {
        let primary = asking()
        primary.connect()
        primary.hear(Sample.welcome(committed: 1))
        primary.run(.seconds(1), beating: true)
        primary.runUntilSent(2)
        primary.ack(2)
        #expect(primary.state == .protected && !primary.machine.status.protected)
        // It was granted after all: that number is taken, with a new session.
        primary.grant()
        primary.run(.milliseconds(100), beating: true)
        #expect(primary.state == .alone && primary.stored == 7 && primary.machine.status.generation == 7)
        primary.connect()
        #expect(primary.hellos.last?.generation == 7 && primary.hellos.last?.imageStillValid == false)
    }

    @Test(arguments: [SuspendOutcome?.none, .some(.suspended)])
    func anAnswerWithinAPauseWaitsForItsEnd(_ suspend: SuspendOutcome?) {
        let primary = asking()
        primary.connect()
        primary.suspendAnswer = nil
        primary.hear(Sample.welcome(committed: primary.machine.status.sent))
        for _ in 0..<50 where !primary.asksToSuspend { primary.advance(.milliseconds(10)) }
        primary.grant()
        #expect(primary.state != .alone)
        primary.suspendAnswer = suspend ?? .refused
        primary.advance(.milliseconds(10))
        primary.advance(.milliseconds(10))
        #expect(primary.state == .alone && !primary.isSuspended)
    }

    // MARK: A restart at every step

    @Test(arguments: [0, 1, 2, 3]) func aRestartAsksOnWithTheSameWish(_ step: Int) {
        let first = protected()
        if step == 0 { first.storeFails = true }
        first.run(.seconds(2))
        if step == 2 { first.dispatch(.arbiterAnswered(.unavailable("down"))) }
        if step == 3 {
            first.storeFails = true
            first.grant()
        }
        first.passWithoutProtect(.seconds(1), guestRuns: true)
        let second = PrimaryUnderTest(after: first, session: 100, at: first.now)
        #expect(second.asked.last?.wanted == first.arbiter?.wish ?? second.asked.last?.wanted)
        #expect(second.attempts == 0 && second.visible == first.visible)
        second.grant()
        #expect(second.state == .peerLost, "the grant begins a session; it is no leave to go alone")
        second.run(.seconds(6))
        second.grant()
        #expect(second.state == .alone)
    }

    // MARK: Ends

    @Test func anEndThatNobodyAnswersWaitsForTheGrant() {
        let primary = asking()
        primary.dispatch(.unprotectRequested)
        primary.run(.seconds(60))
        #expect(primary.result == nil && !primary.has(.releaseAll))
        primary.grant()
        #expect(primary.result == .unanswered(.unprotect) && primary.visible == primary.output)
    }

    @Test func aDroppedImageLetsItGoWithoutTheArbiter() {
        let primary = asking()
        primary.dispatch(.unprotectRequested)
        primary.connect()
        primary.hear(Sample.welcome(committed: 1))
        primary.hear(.plannedEndAnswer(.dropped, generation: 7))
        #expect(primary.result == .ended(.unprotect, .dropped) && primary.visible == primary.output)
    }

    @Test func aCrashedGuestAsksForNothing() {
        let primary = protected()
        primary.loseConnection()
        primary.dispatch(.guestEnded(.crashed))
        primary.run(.seconds(20))
        #expect(primary.result == .unanswered(.crashed) && primary.asked.count == 1)
        #expect(!primary.has(.releaseAll))
    }

    // MARK: Losing the arbiter

    @Test func aConnectedPairDoesNotNeedIt() {
        let primary = protected()
        primary.run(.seconds(5), beating: true)
        #expect(primary.asked.count == 1)
    }

    static func beta(_ generation: UInt64) -> GrantRecord {
        GrantRecord(generation: generation, owner: "beta", id: 7)
    }
}

extension PrimaryUnderTest {
    /// The arbiter grants what it was asked last.
    func grant() {
        guard let request = asked.last else { return }
        dispatch(.arbiterAnswered(.granted(request.wanted)))
    }
}
