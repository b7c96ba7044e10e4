import Checkpoint
import Testing

/// A copy that may no longer run stays silent, whoever protects it next (promise R1).
@Suite struct OutdatedTests {
    private let active = Message.refuse(Refusal(reason: .active, generation: 6, text: "active here"))

    private func outdated() -> PrimaryUnderTest {
        let primary = PrimaryUnderTest.protected()
        primary.loseConnection()
        primary.connect()
        primary.hear(active)
        return primary
    }

    @Test func theRecordSaysSoBeforeAnythingIsDropped() throws {
        let primary = outdated()
        #expect(primary.state == .outdated)
        let noted = try #require(primary.effects.firstIndex(of: .storeOutdated(by: 6)))
        let dropped = try #require(primary.effects.firstIndex(of: .dropAll))
        #expect(noted < dropped)
    }

    @Test func protectedAnewItStaysSilentWhileNobodyCanBeAsked() {
        let first = outdated()
        let seen = first.visible
        first.passWithoutProtect(.seconds(1), guestRuns: true)
        let second = PrimaryUnderTest(after: first, session: 100, at: first.now)
        #expect(second.state == .outdated && second.has(.dropAll))
        #expect(second.reports == [.outdated(generation: 6)])
        second.run(.seconds(60))
        #expect(second.state == .outdated && second.attempts == 0)
        #expect(!second.has(.releaseAll) && second.visible == seen)
        // Nor by one that is told of another standby.
        let third = PrimaryUnderTest(after: second, session: 200, at: second.now, standby: 1)
        third.run(.seconds(60))
        #expect(third.state == .outdated && third.attempts == 0 && third.visible == seen)
    }

    @Test func unprotectedItStaysSilentToo() {
        let first = outdated()
        let second = PrimaryUnderTest(after: first, session: 100, at: first.now)
        second.dispatch(.unprotectRequested)
        #expect(second.result == .outdated(.unprotect))
        #expect(!second.has(.releaseAll) && second.visible == first.visible)
    }

    @Test func aRecordThatCannotBeWrittenIsWrittenLater() {
        let primary = PrimaryUnderTest.protected()
        primary.storeFails = true
        primary.loseConnection()
        primary.connect()
        primary.hear(active)
        #expect(primary.state == .outdated && primary.outdatedBy == nil)
        primary.storeFails = false
        primary.run(.seconds(2))
        #expect(primary.outdatedBy == 6)
    }

    @Test func aGuestThatIsBegunAnewTakesAHigherGeneration() {
        let primary = PrimaryUnderTest()
        primary.connect()
        primary.hear(Sample.refusal(.generationTooLow, generation: 6))
        #expect(primary.state == .connecting && primary.stored == 7)
        #expect(!primary.has(.dropAll))
    }

    /// Two histories were seen, or one that a higher generation ended: no number that is merely taken mends that.
    @Test(arguments: [(UInt64(6), ProtectState.splitBrain), (8, .outdated)])
    func whoeverWentAloneDoesNotOvertake(_ generation: UInt64, _ state: ProtectState) {
        let primary = PrimaryUnderTest.protected()
        primary.loseConnection()
        primary.run(.seconds(15))
        #expect(primary.state == .alone && primary.stored == 6)
        primary.connect()
        primary.hear(Sample.refusal(.generationTooLow, generation: generation))
        #expect(primary.state == state && primary.stored == 6)
    }

    /// Output that passes freely is another incarnation's: the outdated one's is dropped until it is gone.
    @Test func aGuestWhosePlugIsOpenBeginsAnew() {
        let primary = PrimaryUnderTest()
        #expect(primary.state == .connecting && !primary.has(.dropAll))
    }
}
