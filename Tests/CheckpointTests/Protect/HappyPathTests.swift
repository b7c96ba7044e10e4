import Checkpoint
import Testing

@Suite struct HappyPathTests {
    @Test func firstAcknowledgementProtects() {
        let primary = PrimaryUnderTest()
        #expect(primary.state == .connecting)
        primary.link()
        #expect(primary.state == .syncing)
        #expect(primary.visible == primary.output)
        primary.runUntilSent(0)
        #expect(primary.state == .syncing)
        primary.ack(0)
        #expect(primary.state == .protected)
        #expect(primary.reports.contains(.protected))
        #expect(primary.visible < primary.output || primary.plug.holds)
    }

    /// To ask again would make it begin again.
    @Test func aStandbyThatTakesTimeToAnswerIsWaitedFor() {
        let primary = PrimaryUnderTest()
        primary.connect()
        primary.run(.milliseconds(4_900))
        #expect(primary.attempts == 1 && primary.state == .connecting)
        primary.hear(Sample.welcome())
        #expect(primary.state == .syncing)
    }

    @Test func outputLeavesWithItsEpochOnly() {
        let primary = PrimaryUnderTest.protected()
        primary.runUntilSent(1)
        let seen = primary.visible
        primary.run(.milliseconds(200), beating: true)
        #expect(primary.visible == seen)
        primary.ack(1)
        #expect(primary.visible > seen)
        #expect(primary.has(.release(epoch: 1)))
    }

    @Test func intervalIsFromSuspendToSuspend() {
        let primary = PrimaryUnderTest.protected()
        var suspends: [Instant] = []
        var seen = primary.count(\.isSuspend)
        for _ in 0..<400 {
            primary.advance(.milliseconds(1))
            if primary.count(\.isSuspend) > seen {
                seen += 1
                suspends.append(primary.now)
            }
            if let closed = primary.plug.closed { primary.ack(closed.epoch) }
            if primary.now.nanoseconds % 100_000_000 == 0 { primary.beat() }
        }
        let gaps = zip(suspends.dropFirst(), suspends).map { $0 - $1 }
        #expect(gaps.count >= 5)
        #expect(gaps.dropFirst().allSatisfy { $0 == .milliseconds(50) }, "\(gaps)")
    }

    @Test func noSuspendBeforeTheAcknowledgement() {
        let primary = PrimaryUnderTest.protected()
        primary.runUntilSent(1)
        let before = primary.count(\.isSuspend)
        primary.run(.milliseconds(1500), beating: true)
        #expect(primary.count(\.isSuspend) == before)
    }
}

extension ProtectEffect {
    var isSuspend: Bool { if case .suspend = self { true } else { false } }
    var isCut: Bool { if case .cut = self { true } else { false } }
    var isStore: Bool { if case .storeGeneration = self { true } else { false } }
    var isEcho: Bool { if case .send(.heartbeatEcho) = self { true } else { false } }
    var isPlannedEnd: Bool { if case .send(.plannedEnd) = self { true } else { false } }
}
