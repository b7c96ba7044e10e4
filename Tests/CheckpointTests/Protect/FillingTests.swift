import Checkpoint
import Testing

/// Epochs are shorter while held output fills what may be held (promise R4).
@Suite struct FillingTests {
    private func primary(_ change: (PrimaryUnderTest) -> Void = { _ in }) -> PrimaryUnderTest {
        var settings = ProtectSettings()
        settings.interval = .milliseconds(400)
        let primary = PrimaryUnderTest.protected(settings)
        change(primary)
        return primary
    }

    /// From here to the moment when `epoch` is on its way.
    private func time(to epoch: UInt64, _ primary: PrimaryUnderTest) -> TimeSpan {
        let began = primary.now
        for _ in 0..<100 where primary.machine.status.sent != epoch {
            primary.beat()
            primary.advance(.milliseconds(10))
        }
        #expect(primary.machine.status.sent == epoch)
        return primary.now - began
    }

    @Test func theEpochIsAQuarterAsLong() {
        let primary = primary()
        _ = time(to: 1, primary)
        primary.ack(1)
        let usual = time(to: 2, primary)
        #expect(usual > .milliseconds(350))
        primary.ack(2)
        primary.dispatch(.outputFilling(true))
        for epoch in UInt64(3)...5 {
            let short = time(to: epoch, primary)
            #expect(short >= .milliseconds(80) && short <= .milliseconds(130), "\(short)")
            primary.ack(epoch)
        }
        primary.dispatch(.outputFilling(false))
        #expect(time(to: 6, primary) > .milliseconds(350))
    }

    @Test func oneThatRunsForThatLongAlreadyEndsAtOnce() {
        let primary = primary()
        _ = time(to: 1, primary)
        primary.ack(1)
        primary.run(.milliseconds(200), beating: true)
        primary.dispatch(.outputFilling(true))
        #expect(time(to: 2, primary) <= .milliseconds(30))
    }

    /// Promise R2: the plug knows one closed epoch.
    @Test func noneEndsBeforeTheOneBeforeIsAcknowledged() {
        let primary = primary()
        _ = time(to: 1, primary)
        primary.dispatch(.outputFilling(true))
        primary.run(.milliseconds(1500), beating: true)
        #expect(primary.machine.status.sent == 1 && !primary.has(.cut(epoch: 2)))
        primary.ack(1)
        #expect(time(to: 2, primary) <= .milliseconds(30))
    }

    @Test func aGuestThatDoesNotSuspendIsNotAskedMoreOften() {
        let attempts = [false, true].map { isFilling in
            let primary = primary { $0.suspendAnswer = .refused }
            primary.run(.milliseconds(500), beating: true)
            primary.dispatch(.outputFilling(isFilling))
            primary.run(.milliseconds(4000), beating: true)
            return primary.count { if case .suspend = $0 { true } else { false } }
        }
        #expect(attempts[0] == attempts[1])
    }
}
