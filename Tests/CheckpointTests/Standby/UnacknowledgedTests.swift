import Testing
import XenStream

@testable import Checkpoint

/// A primary that waits for no ack: taken only where somebody said so, and activated only by hand.
@Suite struct UnacknowledgedTests {
    private let memory = MemoryVerdict(ceiling: 1 << 30, used: 0, needed: 1)

    private func hello(generation: UInt64 = 1) -> Hello {
        var hello = Hello(
            guest: GuestDescription(
                name: "g",
                uuid: GuestUUID(high: 1, low: 2),
                kind: .hvm,
                pageCount: 64,
                address: "",
                config: []
            ),
            generation: generation,
            session: 5,
            ackedEpoch: nil,
            imageStillValid: false,
            populatedPages: 1,
            epochCapacity: 1 << 20,
            aloneAfter: .seconds(100),
            bootID: "",
            host: "primary",
            protectProcess: ProcessIdentity(pid: 0, startTime: 0),
            guestProcess: ProcessIdentity(pid: 0, startTime: 0)
        )
        hello.unacknowledged = true
        return hello
    }

    private func machine(takes: Bool) -> StandbyMachine {
        var machine = StandbyMachine(facts: StandbyFacts(), image: nil, host: "standby")
        machine.takesUnacknowledged = takes
        return machine
    }

    @Test func itIsRefusedUnlessSomebodySaidSo() {
        var machine = machine(takes: false)
        let effects = send(.hello(hello(), memory, on: 1), to: &machine)
        #expect(
            effects.contains {
                if case .send(.refuse(let refusal), on: 1) = $0 {
                    refusal.reason == .unsafePeer
                } else {
                    false
                }
            }
        )
        #expect(machine.liveConnection == nil && machine.facts == StandbyFacts())
    }

    @Test func itsImageWantsBothWordsWhateverWasSeen() {
        var machine = machine(takes: true)
        send(.hello(hello(), memory, on: 1), to: &machine)
        #expect(machine.isUnacknowledged)
        send(.epochWhole(0, on: 1), to: &machine)
        let both = ActivationOrder(confirmFenced: "primary", acceptRollback: true)
        #expect(machine.decide(both, primaryGoneSince: nil, at: Sample.start) == .primaryAlive)
        send(.connectionLost(1), to: &machine)
        #expect(!machine.isUnacknowledged && machine.image?.unacknowledged == true)
        for gone in [nil, Sample.start] {
            guard
                case .fencingUnconfirmed = machine.decide(
                    ActivationOrder(acceptRollback: true),
                    primaryGoneSince: gone,
                    at: Sample.start
                )
            else {
                Issue.record("activated without anybody's word")
                return
            }
            let fenced = ActivationOrder(confirmFenced: "primary")
            #expect(machine.decide(fenced, primaryGoneSince: gone, at: Sample.start) == .unacknowledged)
            #expect(
                machine.decide(both, primaryGoneSince: gone, at: Sample.start) == .allowed(generation: 2)
            )
        }
    }

    /// It sends no beats: what counts is what it sends, for a tenth of its alone-after.
    @Test func itIsSilentWhenItSendsNothing() {
        var machine = machine(takes: true)
        send(.hello(hello(), memory, on: 1), to: &machine)
        send(.epochWhole(0, on: 1), to: &machine)
        let later = Sample.start + .seconds(9)
        send(.dataReceived(on: 1), to: &machine, at: later)
        send(.tick, to: &machine, at: later + .seconds(10))
        #expect(machine.liveConnection == 1)
        let effects = send(.tick, to: &machine, at: later + .milliseconds(10_001))
        #expect(effects.contains(.close(1)) && machine.liveConnection == nil)
        #expect(machine.image?.epoch == 0)
        // It has no record: each time it comes it is another generation.
        #expect(machine.refusal(of: hello(), at: later)?.reason == .generationTooLow)
        #expect(machine.refusal(of: hello(generation: 2), at: later) == nil)
    }

    /// A guest that was activated here and runs no more may be protected again; one that runs may not.
    @Test func itNeverReplacesAGuestThatRuns() {
        var machine = machine(takes: true)
        machine.adopt(
            StandbyFacts(state: .active, generation: 4, activationID: 9, activatedFrom: 3),
            runsHere: true,
            imageConsumed: true
        )
        #expect(machine.refusal(of: hello(generation: 5), at: Sample.start)?.reason == .active)
        machine.runsHere = false
        #expect(machine.refusal(of: hello(generation: 4), at: Sample.start)?.reason == .generationTooLow)
        #expect(machine.refusal(of: hello(generation: 5), at: Sample.start) == nil)
    }
}
