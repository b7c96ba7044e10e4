import Checkpoint
import Testing

/// What a predecessor's image, somewhere, still permits (promise R1).
@Suite struct OlderImageTests {
    private func settings(aloneAfter: UInt64) -> ProtectSettings {
        var settings = ProtectSettings()
        settings.aloneAfter = .seconds(aloneAfter)
        return settings
    }

    // MARK: Another standby

    @Test func anotherStandbyIsConnectedOnlyOnceTheGuestMayGoAlone() throws {
        let primary = PrimaryUnderTest(plugWasClosed: true, imageElsewhere: true)
        #expect(primary.state == .peerLost && primary.machine.status.imageElsewhere)
        primary.run(.milliseconds(9_900))
        #expect(primary.attempts == 0 && !primary.has(.releaseAll) && primary.visible == 0)
        primary.run(.milliseconds(500))
        let stored = try #require(primary.effects.firstIndex(of: .storeGeneration(6)))
        let released = try #require(primary.effects.firstIndex(of: .releaseAll))
        #expect(stored < released)
        #expect(primary.reports.contains(.wentAlone(generation: 6)))
        #expect(primary.visible == primary.output)
        #expect(!primary.machine.status.imageElsewhere)
        primary.connect()
        #expect(primary.hellos.map(\.generation) == [6])
        #expect(primary.hellos.allSatisfy { !$0.imageStillValid && $0.session != 9 })
        primary.hear(Sample.welcome())
        primary.runUntilSent(0)
        primary.ack(0)
        #expect(primary.state == .protected)
    }

    @Test func aGenerationThatCannotBeStoredReleasesNothing() {
        let primary = PrimaryUnderTest(plugWasClosed: true, imageElsewhere: true)
        primary.storeFails = true
        primary.run(.seconds(30))
        #expect(primary.attempts == 0 && !primary.has(.releaseAll))
        primary.storeFails = false
        primary.run(.seconds(2))
        #expect(primary.has(.releaseAll) && primary.attempts == 1)
    }

    @Test func unprotectReleasesNothingBeforeThePermission() {
        let primary = PrimaryUnderTest(plugWasClosed: true, imageElsewhere: true)
        primary.run(.seconds(1))
        primary.dispatch(.unprotectRequested)
        primary.run(.milliseconds(8_900))
        #expect(primary.result == nil && !primary.has(.releaseAll) && primary.attempts == 0)
        primary.run(.milliseconds(500))
        #expect(primary.result == .unanswered(.unprotect) && primary.has(.releaseAll))
        #expect(primary.has(.storeGeneration(6)) && primary.attempts == 0)
    }

    @Test(arguments: [(GuestEnd.shutdown, PlannedEndReason.shutdown), (.crashed, .crashed)])
    func aGuestThatEndsMeanwhileWaitsToo(_ end: GuestEnd, _ reason: PlannedEndReason) {
        let primary = PrimaryUnderTest(plugWasClosed: true, imageElsewhere: true)
        primary.dispatch(.guestEnded(end))
        primary.run(.milliseconds(9_900))
        #expect(primary.result == nil && !primary.has(.releaseAll))
        primary.run(.milliseconds(500))
        #expect(primary.result == .unanswered(reason))
        // A crashed guest's image is the newest there is.
        #expect(primary.has(.releaseAll) == (end != .crashed))
        #expect(primary.attempts == 0)
    }

    // MARK: A longer alone-after

    @Test func aShorterAloneAfterDoesNotCountForAnOlderImage() {
        let primary = PrimaryUnderTest(
            settings(aloneAfter: 2),
            plugWasClosed: true,
            recordedAloneAfter: .seconds(30)
        )
        #expect(primary.machine.status.aloneAfter == .seconds(30))
        #expect(primary.machine.status.aloneAt == primary.now + .seconds(30))
        // It is connected and syncs; each echo makes the older image certain for longer.
        primary.link(keepsOlder: true)
        primary.suspendAnswer = .refused
        primary.beat()
        primary.run(.seconds(1), beating: true)
        primary.loseConnection()
        primary.run(.seconds(29))
        #expect(!primary.has(.releaseAll) && !primary.has(.storeAloneAfter))
        primary.run(.seconds(2))
        #expect(primary.has(.releaseAll) && primary.state == .alone)
        // The record keeps the longer one until an image has come with the shorter.
        #expect(!primary.has(.storeAloneAfter))
        #expect(primary.machine.status.aloneAfter == .seconds(2))
        primary.suspendAnswer = .suspended
        primary.link()
        primary.runUntilSent(0)
        primary.ack(0)
        #expect(primary.count { $0 == .storeAloneAfter } == 1)
    }

    @Test func theFirstAcknowledgementReplacesTheOlderImage() {
        let primary = PrimaryUnderTest(
            settings(aloneAfter: 2),
            plugWasClosed: true,
            recordedAloneAfter: .seconds(30)
        )
        primary.link(keepsOlder: true)
        primary.runUntilSent(0)
        #expect(!primary.has(.storeAloneAfter) && primary.machine.status.aloneAfter == .seconds(30))
        primary.ack(0)
        #expect(primary.machine.status.aloneAfter == .seconds(2))
        primary.runUntilSent(1)
        primary.ack(1)
        #expect(primary.count { $0 == .storeAloneAfter } == 1)
        primary.loseConnection()
        primary.run(.milliseconds(1_900))
        #expect(!primary.has(.releaseAll))
        primary.run(.milliseconds(500))
        #expect(primary.state == .alone)
    }

    @Test func aLongerAloneAfterCountsAtOnce() {
        let primary = PrimaryUnderTest(
            settings(aloneAfter: 20),
            plugWasClosed: true,
            recordedAloneAfter: .seconds(10)
        )
        #expect(primary.machine.status.aloneAfter == .seconds(20))
        primary.run(.milliseconds(19_900))
        #expect(!primary.has(.releaseAll))
        primary.run(.milliseconds(500))
        #expect(primary.has(.releaseAll))
    }

    @Test func aRecordOfAnOpenPlugMeansNothing() {
        let primary = PrimaryUnderTest(settings(aloneAfter: 2), recordedAloneAfter: nil)
        primary.link()
        primary.runUntilSent(0)
        primary.ack(0)
        #expect(!primary.has(.storeAloneAfter) && primary.machine.status.aloneAfter == .seconds(2))
    }
}
