import Testing

@testable import Checkpoint

/// Plays engine, standby and plug for a `ProtectMachine`, one effect at a time, and checks the epoch discipline
/// (design, section 3) after each of them.
private final class Playground {
    var machine: ProtectMachine
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var effects = EffectBuffer<ProtectEffect>()
    /// Everything that was done, in order.
    var story: [ProtectEffect] = []
    /// What the standby committed, and whether it answers and acknowledges by itself.
    var sealed: UInt64?
    var acknowledges = true
    var connects = true
    /// The plug: closed and not released, and whether output is held.
    var closedEpoch: UInt64?
    var isHeld = false
    var isSuspended = false
    var lastAcked: UInt64?
    var suspends: [Instant] = []
    var harvestResults: [HarvestResult] = []
    var outcome: SuspendOutcome = .suspended
    var mayReleaseAll = false
    var result: ProtectResult?

    init(_ change: (inout ProtectSettings) -> Void = { _ in }) {
        var settings = ProtectSettings()
        change(&settings)
        machine = ProtectMachine(settings: settings, generation: 1, session: 100)
    }

    func send(_ event: ProtectEvent) {
        var events = [event]
        while !events.isEmpty {
            machine.handle(events.removeFirst(), at: now, into: &effects)
            let batch = effects.effects
            effects.clear()
            for effect in batch {
                story.append(effect)
                events += perform(effect)
            }
        }
    }

    /// Lets time pass in steps of at most `step`.
    func pass(_ span: TimeSpan, step: TimeSpan = .milliseconds(10)) {
        let end = now + span
        while now < end, result == nil {
            now = min(now + step, end)
            send(.tick)
            if machine.link == .up, connects {
                send(.received(.heartbeat(Heartbeat(number: 1, sentAt: now))))
            }
        }
    }

    private func perform(_ effect: ProtectEffect) -> [ProtectEvent] {
        switch effect {
        case .connect: return connects ? [.connected] : [.linkLost(.connectFailed("refused"))]
        case .sendHello(_, let session, let acked, _):
            let committed = session == 100 && acked != nil ? sealed : nil
            let welcome = Welcome(
                version: 1,
                committedEpoch: committed,
                keepsOlderImage: false,
                memoryCeiling: 0,
                memoryUsed: 0,
                host: "s"
            )
            // Nothing can be activated where nothing is committed.
            if committed == nil { mayReleaseAll = true }
            return [.received(.welcome(welcome))]
        case .syncRound: return [.syncRoundSent(pages: 0)]
        case .suspend:
            #expect(machine.inFlight == nil, "a suspend while an epoch is un-acknowledged")
            #expect(!isSuspended)
            suspends.append(now)
            isSuspended = outcome == .suspended
            return [.suspendFinished(outcome)]
        case .harvest:
            #expect(isSuspended)
            return [.harvested(harvestResults.isEmpty ? .whole(pages: 1) : harvestResults.removeFirst())]
        case .cut(let epoch):
            #expect(isSuspended, "a cut while the guest runs")
            #expect(closedEpoch == nil, "two closed epochs")
            closedEpoch = epoch
            isHeld = true
            mayReleaseAll = false
            return [.cut]
        case .resume:
            #expect(isSuspended)
            isSuspended = false
            return [.resumed]
        case .sendEpoch(let epoch):
            guard acknowledges else { return [] }
            sealed = epoch
            lastAcked = epoch
            return [.received(.ack(epoch: epoch))]
        case .release(let epoch):
            #expect(epoch == closedEpoch && epoch == lastAcked, "output of \(epoch) released without its ack")
            closedEpoch = nil
            return []
        case .storeGeneration(let generation):
            mayReleaseAll = true
            return [.generationStored(generation)]
        case .releaseAll:
            #expect(mayReleaseAll, "everything released without permission")
            closedEpoch = nil
            isHeld = false
            return []
        case .finish(let end):
            result = end
            #expect(!isSuspended)
            return []
        case .disconnect, .send, .startTracking, .stopTracking, .requeueSentPages, .absorb, .dropAll,
            .pauseGuest, .unpauseGuest,
            .storeAloneAfter, .storeOutdated, .storeWish, .askArbiter, .storeGrant, .storeContinuation,
            .storePrevailing,
            .report:
            return []
        }
    }

    func count(_ matches: (ProtectEffect) -> Bool) -> Int { story.filter(matches).count }
}

@Suite struct EpochDisciplineTests {
    @Test func everyEpochIsReleasedByItsAckAndSuspendsKeepTheInterval() {
        let play = Playground()
        play.send(.start(plugWasClosed: false))
        play.pass(.seconds(1))
        #expect(play.machine.status.protected)
        #expect((play.lastAcked ?? 0) >= 15)
        let gaps = zip(play.suspends.dropFirst(2), play.suspends.dropFirst()).map { $0 - $1 }
        #expect(gaps.allSatisfy { $0 == .milliseconds(50) })
    }

    @Test(arguments: [HarvestResult.late, .overCapacity(pages: 9), .failed("no page")])
    func anAbandonedCheckpointNeverCutsAndTheGuestRunsOn(_ failure: HarvestResult) {
        let play = Playground()
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(200))
        let cuts = play.count { if case .cut = $0 { true } else { false } }
        play.harvestResults = [failure]
        play.pass(.milliseconds(50))
        #expect(!play.isSuspended)
        #expect(play.count { if case .cut = $0 { true } else { false } } - cuts <= 1)
        #expect(play.story.contains { if case .syncRound(_, whole: false) = $0 { true } else { false } })
        play.pass(.milliseconds(200))
        #expect(play.machine.status.protected)
    }

    @Test func aStandbyThatDoesNotAcknowledgeIsGivenUpAndItsHeartbeatsAreNotEchoed() {
        let play = Playground { $0.aloneAfter = .seconds(5) }
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(200))
        play.acknowledges = false
        play.pass(.milliseconds(2300))
        #expect(play.story.contains(.report(.linkLost(.notAcknowledging))))
        #expect(play.isHeld && play.result == nil)
        let echoes = play.count { if case .send(.heartbeatEcho) = $0 { true } else { false } }
        play.pass(.milliseconds(1000))
        #expect(play.count { if case .send(.heartbeatEcho) = $0 { true } else { false } } == echoes)
        // Bounded: it goes on alone, with the next generation written down first.
        play.acknowledges = false
        play.pass(.seconds(10))
        #expect(play.story.contains(.report(.wentAlone(generation: 2))))
    }

    @Test func aloneOnlyAfterTheLimitAndOnlyOnceTheGenerationIsDurable() throws {
        let play = Playground()
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(500))
        play.connects = false
        play.send(.linkLost(.reset("gone")))
        play.pass(.milliseconds(9800))
        #expect(!play.story.contains(.releaseAll) && play.isHeld)
        play.pass(.milliseconds(600))
        let stored = try #require(play.story.firstIndex(of: .storeGeneration(2)))
        let released = try #require(play.story.firstIndex(of: .releaseAll))
        #expect(stored < released)
        #expect(play.machine.status.state == .alone)
        // A standby that comes back protects it again, in a new session.
        play.connects = true
        play.pass(.seconds(1))
        #expect(play.machine.status.protected && play.machine.generation == 2)
    }

    @Test func aLoopThatWasLateBeginsTheCountAnew() {
        let play = Playground()
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(500))
        play.connects = false
        play.send(.linkLost(.reset("gone")))
        play.pass(.seconds(9))
        // The process was stopped for a while: heartbeats may have come and gone.
        play.now = play.now + .seconds(3)
        play.pass(.seconds(9))
        #expect(!play.story.contains(.releaseAll))
        play.pass(.seconds(2))
        #expect(play.machine.status.state == .alone)
    }

    @Test func aShortLossRepeatsTheEpochInFlightWithoutASync() {
        let play = Playground()
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(500))
        let syncs = play.count { if case .syncRound(_, whole: true) = $0 { true } else { false } }
        play.acknowledges = false
        play.pass(.milliseconds(100))
        play.send(.linkLost(.reset("cut")))
        play.acknowledges = true
        play.pass(.milliseconds(500))
        #expect(play.machine.status.protected)
        #expect(play.count { if case .syncRound(_, whole: true) = $0 { true } else { false } } == syncs)
    }

    @Test func aGuestThatDoesNotSuspendIsSaidSoAndNotWaitedForWithoutEnd() {
        let play = Playground { $0.aloneAfter = .seconds(4) }
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(200))
        play.outcome = .refused
        play.pass(.seconds(2))
        #expect(play.machine.status.state == .suspendRefused)
        play.pass(.seconds(5))
        #expect(
            play.story.contains {
                if case .send(.plannedEnd(let end)) = $0 { end.reason == .continueAlone } else { false }
            }
        )
    }

    @Test(arguments: [PlannedEndReason.unprotect, .shutdown, .crashed])
    func aPlannedEndReleasesOnlyAfterTheAnswer(_ reason: PlannedEndReason) {
        let play = Playground()
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(500))
        switch reason {
        case .unprotect: play.send(.unprotectRequested)
        case .shutdown: play.send(.guestEnded(.shutdown))
        default: play.send(.guestEnded(.crashed))
        }
        #expect(!play.story.contains(.releaseAll) && play.result == nil)
        let answer: PlannedEndAnswer = reason == .crashed ? .kept : .dropped
        play.mayReleaseAll = answer == .dropped
        play.send(.received(.plannedEndAnswer(answer, generation: 2)))
        #expect(play.result == .ended(reason, answer))
        #expect(play.story.contains(.releaseAll) == (answer == .dropped))
    }

    @Test func anActiveStandbyMakesThisCopyOutdated() {
        let play = Playground()
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(500))
        play.send(.received(.refuse(Refusal(reason: .active, generation: 2, text: "active"))))
        play.pass(.seconds(30))
        #expect(play.machine.status.state == .outdated)
        #expect(play.story.contains(.dropAll) && !play.story.contains(.releaseAll))
    }

    @Test(arguments: [UInt64(0), 7, 99])
    func anAckOfAnotherEpochReleasesNothing(_ epoch: UInt64) {
        let play = Playground()
        play.send(.start(plugWasClosed: false))
        play.pass(.milliseconds(200))
        play.acknowledges = false
        play.pass(.milliseconds(100))
        let released = play.count { if case .release = $0 { true } else { false } }
        guard play.machine.inFlight != epoch else { return }
        play.send(.received(.ack(epoch: epoch)))
        #expect(play.count { if case .release = $0 { true } else { false } } == released)
    }
}
