import Testing
import XenStream

@testable import Checkpoint

@Suite struct StandbyDecisionTests {
    private static let guest = GuestDescription(
        name: "g",
        uuid: GuestUUID(high: 1, low: 2),
        kind: .hvm,
        pageCount: 64,
        address: "",
        config: []
    )

    private func hello(generation: UInt64 = 1, session: UInt64 = 5, stillValid: Bool = false) -> Hello {
        Hello(
            guest: Self.guest,
            generation: generation,
            session: session,
            ackedEpoch: nil,
            imageStillValid: stillValid,
            populatedPages: 1,
            epochCapacity: 1 << 20,
            aloneAfter: .seconds(10),
            bootID: "b",
            host: "primary",
            protectProcess: ProcessIdentity(pid: 1, startTime: 1),
            guestProcess: ProcessIdentity(pid: 2, startTime: 1)
        )
    }

    private let memory = MemoryVerdict(ceiling: 1 << 30, used: 0, needed: 1)

    /// A machine that holds epoch 3 of generation 1, its connection lost at `Sample.start`.
    private func holding() -> StandbyMachine {
        var machine = StandbyMachine(facts: StandbyFacts(), image: nil, host: "standby")
        send(.hello(hello(), memory, on: 1), to: &machine)
        for epoch in 0...3 { send(.epochWhole(UInt64(epoch), on: 1), to: &machine) }
        send(.connectionLost(1), to: &machine)
        return machine
    }

    @Test func anEpochIsSealedBeforeItIsAcknowledgedAndAppliedAfter() {
        var machine = StandbyMachine(facts: StandbyFacts(), image: nil, host: "standby")
        #expect(send(.hello(hello(), memory, on: 1), to: &machine).contains(.beginImage))
        let first = send(.epochWhole(0, on: 1), to: &machine)
        let order: [StandbyEffect] = [
            .seal(epoch: 0), .adoptIncoming, .store(StandbyFacts(state: .image, generation: 1)),
            .send(.ack(epoch: 0), on: 1),
        ]
        #expect(first.filter(order.contains) == order)
        #expect(
            send(.epochWhole(1, on: 1), to: &machine) == [
                .seal(epoch: 1), .send(.ack(epoch: 1), on: 1), .apply(epoch: 1),
            ]
        )
        #expect(send(.epochWhole(7, on: 1), to: &machine).isEmpty)
    }

    @Test func theSameSessionGoesOnAndAnotherBeginsAnew() {
        var machine = holding()
        #expect(send(.hello(hello(), memory, on: 2), to: &machine).contains(.continueImage(after: 3)))
        var other = holding()
        let effects = send(.hello(hello(generation: 2, session: 6), memory, on: 2), to: &other)
        #expect(effects.contains(.beginImage) && effects.contains(.dropImage))
        var kept = holding()
        let held = send(.hello(hello(generation: 2, session: 6, stillValid: true), memory, on: 2), to: &kept)
        #expect(held.contains(.beginImage) && !held.contains(.dropImage))
        #expect(kept.image?.epoch == 3)
    }

    @Test func aPlannedEndIsDurableBeforeItIsAnswered() throws {
        var machine = StandbyMachine(facts: StandbyFacts(), image: nil, host: "standby")
        send(.hello(hello(), memory, on: 1), to: &machine)
        send(.epochWhole(0, on: 1), to: &machine)
        let end = PlannedEnd(reason: .unprotect, generation: 2)
        let effects = send(.received(.plannedEnd(end), on: 1), to: &machine)
        let stored = try #require(
            effects.firstIndex(of: .store(StandbyFacts(state: .dropped, generation: 2)))
        )
        let answered = try #require(
            effects.firstIndex(of: .send(.plannedEndAnswer(.dropped, generation: 2), on: 1))
        )
        #expect(stored < answered && effects.contains(.dropImage))
        guard
            case .generationMismatch = machine.decide(
                ActivationOrder(),
                primaryGoneSince: nil,
                at: Sample.start
            )
        else {
            Issue.record("a dropped image can be activated")
            return
        }
    }

    @Test func whatMayBeActivated() {
        var machine = holding()
        let soon = Sample.start + .seconds(2)
        let vouched = ActivationOrder(confirmFenced: "primary")
        guard case .fencingUnconfirmed = machine.decide(ActivationOrder(), primaryGoneSince: nil, at: soon),
            case .fencingUnconfirmed = machine.decide(
                ActivationOrder(confirmFenced: "other"),
                primaryGoneSince: nil,
                at: soon
            )
        else {
            Issue.record("activated without anybody's word")
            return
        }
        #expect(machine.decide(vouched, primaryGoneSince: nil, at: soon) == .allowed(generation: 2))
        #expect(
            machine.decide(ActivationOrder(), primaryGoneSince: soon, at: soon) == .allowed(generation: 2)
        )
        // 80 % of alone-after, to the nanosecond.
        let limit = Sample.start + .seconds(8)
        #expect(machine.decide(vouched, primaryGoneSince: nil, at: limit) == .allowed(generation: 2))
        let past = Instant(nanoseconds: limit.nanoseconds + 1)
        #expect(
            machine.decide(vouched, primaryGoneSince: nil, at: past)
                == .mayBeOlder(by: TimeSpan(nanoseconds: 1))
        )
        #expect(
            machine.decide(ActivationOrder(), primaryGoneSince: soon, at: past) == .allowed(generation: 2)
        )
        let accepting = ActivationOrder(confirmFenced: "primary", acceptRollback: true)
        #expect(machine.decide(accepting, primaryGoneSince: nil, at: past) == .allowed(generation: 2))
        var wanted = vouched
        wanted.ifGeneration = 9
        guard case .generationMismatch = machine.decide(wanted, primaryGoneSince: nil, at: soon) else {
            Issue.record("the generation was not checked")
            return
        }
        // Once granted, a start that failed is tried again, and a guest that runs is active already.
        machine.adopt(machine.activated(as: 2, id: 1), runsHere: false, imageConsumed: false)
        #expect(machine.decide(ActivationOrder(), primaryGoneSince: nil, at: past) == .allowed(generation: 2))
        machine.adopt(machine.activated(as: 2, id: 1), runsHere: true, imageConsumed: true)
        #expect(machine.decide(ActivationOrder(), primaryGoneSince: nil, at: past) == .alreadyActive)
        let refusal = send(.hello(hello(), memory, on: 9), to: &machine).first {
            if case .send(.refuse(let refusal), _) = $0 { refusal.reason == .active } else { false }
        }
        #expect(refusal != nil)
    }

    @Test func aLivePrimaryIsNotReplaced() {
        var machine = StandbyMachine(facts: StandbyFacts(), image: nil, host: "standby")
        send(.hello(hello(), memory, on: 1), to: &machine)
        send(.epochWhole(0, on: 1), to: &machine)
        let order = ActivationOrder(confirmFenced: "primary", acceptRollback: true)
        #expect(machine.decide(order, primaryGoneSince: nil, at: Sample.start) == .primaryAlive)
        let other = send(.hello(hello(generation: 2, session: 6), memory, on: 2), to: &machine)
        #expect(
            other.contains {
                if case .send(.refuse(let refusal), on: 2) = $0 { refusal.reason == .busy } else { false }
            }
        )
        let gone = send(.tick, to: &machine, at: Sample.start + .milliseconds(1001))
        #expect(gone.contains(.close(1)))
    }

    @Test func whatDoesNotFitIsRefusedBeforeTheFirstEpoch() {
        var machine = StandbyMachine(facts: StandbyFacts(), image: nil, host: "standby")
        let full = MemoryVerdict(ceiling: 100, used: 50, needed: 51)
        let effects = send(.hello(hello(), full, on: 1), to: &machine)
        #expect(!effects.contains(.beginImage))
        #expect(
            effects.contains {
                if case .send(.refuse(let refusal), _) = $0 { refusal.reason == .noMemory } else { false }
            }
        )
    }
}
