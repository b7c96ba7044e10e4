import Checkpoint
import Testing

/// Each way to die, in each phase, of each of the first epochs: protection comes back, and no promise is broken on the
/// way (`PrimaryUnderTest` and `Pair` look after every effect and every step).
@Suite struct FaultTableTests {
    /// Cutting is none: the engine hears of nothing between a cut and its outcome.
    enum Phase: CaseIterable {
        case handshake, sync, suspending, harvesting, resuming, sending, inFlight, acknowledged,
            running
    }

    enum Fault: CaseIterable {
        case reset, silence, standbyDaemon, standbyAndGuardian, protect, standbyForGood
    }

    @Test(arguments: Phase.allCases, Fault.allCases)
    func protectionSurvives(_ phase: Phase, _ fault: Fault) {
        for epoch in UInt64(0)...3 { play(fault, in: phase, of: epoch) }
    }

    private func play(_ fault: Fault, in phase: Phase, of epoch: UInt64) {
        // Another protect cannot begin in the middle of an effect of the one before.
        let isWithinEffects = [.handshake, .sync, .harvesting, .resuming, .sending].contains(phase)
        if fault == .protect, isWithinEffects { return }
        let pair = Pair()
        if epoch > 0 { pair.run { pair.primary.machine.status.acked == epoch - 1 } }
        let session = pair.primary.machine.session
        #expect(epoch == 0 || pair.primary.state == .protected)
        var hasStruck = false
        let strike = {
            guard !hasStruck else { return }
            hasStruck = true
            Self.strike(fault, pair)
        }
        arm(phase, of: epoch, pair, strike)
        pair.run { hasStruck }
        #expect(hasStruck, "\(phase) of epoch \(epoch) is reached")
        disarm(pair)
        let told = pair.primary.visible
        if fault == .standbyForGood {
            pair.run(30) { pair.primary.state == .alone }
            // Where nothing was ever held there is nobody to go on without.
            let held = pair.primary.machine.status.plugClosed
            #expect(!held && pair.primary.visible == pair.primary.output && !pair.primary.isSuspended)
            #expect(epoch == 0 || pair.primary.stored == 6)
            return
        }
        pair.run(2)
        pair.carries = true
        pair.standbyRuns = true
        pair.run(20) { pair.primary.state == .protected && pair.primary.visible > told }
        #expect(pair.primary.state == .protected && pair.primary.visible > told, "\(phase) of epoch \(epoch)")
        let isRepeatable = epoch > 0 && phase != .sync && fault != .standbyAndGuardian && fault != .protect
        if isRepeatable { #expect(pair.primary.machine.session == session, "\(phase) of epoch \(epoch)") }
    }

    private static func strike(_ fault: Fault, _ pair: Pair) {
        switch fault {
        case .reset: pair.reset()
        case .silence: pair.carries = false
        case .standbyDaemon, .standbyForGood: pair.killStandby(guardian: false)
        case .standbyAndGuardian: pair.killStandby(guardian: true)
        case .protect: pair.replacePrimary()
        }
    }

    /// Has `strike` called in the middle of a phase.
    private func arm(_ phase: Phase, of epoch: UInt64, _ pair: Pair, _ strike: @escaping () -> Void) {
        let primary = pair.primary
        func on(_ isIt: @escaping (ProtectEffect) -> Bool) { primary.onEffect = { if isIt($0) { strike() } } }
        switch phase {
        case .handshake:
            on { if case .sendHello = $0 { true } else { false } }
            if epoch > 0 { pair.reset() }
        case .sync:
            // Later than epoch 0 pages are sent while the guest runs only after an abandoned checkpoint.
            if epoch > 0 { primary.harvest = .late }
            on { if case .syncRound = $0 { true } else { false } }
        case .suspending:
            primary.suspendAnswer = nil
            pair.beforeStandby = { if primary.asksToSuspend { strike() } }
        case .harvesting: on { if case .harvest = $0 { true } else { false } }
        case .resuming: on { $0 == .resume }
        case .sending: on { $0 == .sendEpoch(epoch) }
        case .inFlight:
            pair.beforeStandby = {
                if primary.machine.status.sent == epoch, primary.outgoing.count > 0 { strike() }
            }
        case .acknowledged:
            pair.beforePrimary = { [unowned pair] in
                if pair.standby.outgoing.contains(where: { $0.message == .ack(epoch: epoch) }) {
                    strike()
                }
            }
        case .running:
            pair.beforeStandby = { if primary.machine.status.acked == epoch { strike() } }
        }
    }

    private func disarm(_ pair: Pair) {
        pair.primary.onEffect = nil
        pair.beforeStandby = nil
        pair.beforePrimary = nil
        pair.primary.suspendAnswer = .suspended
        pair.primary.harvest = .whole(pages: 10)
    }
}
