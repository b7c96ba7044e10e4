import Checkpoint
import Testing

/// A standby whose arbiter decides: what it asks from which generation, and when it does so by itself.
@Suite struct StandbyArbiterTests {
    private func machine(_ facts: StandbyFacts = StandbyFacts(), image: ImageFacts? = nil) -> StandbyMachine {
        var machine = StandbyMachine(facts: facts, image: image, host: "beta")
        machine.arbiter = ArbiterChoice(name: "a", decides: true)
        machine.activatesByItself = true
        return machine
    }

    private func hello(
        generation: UInt64 = 5,
        session: UInt64 = 9,
        stillValid: Bool = false,
        arbiter: String? = "a",
        disk: Bool = false
    ) -> Hello {
        var hello = Sample.hello(generation: generation, session: session, imageStillValid: stillValid)
        hello.arbiter = arbiter
        hello.hasUnreplicatedDisk = disk
        return hello
    }

    /// Has epoch 0 of generation 5.
    private func replicating(disk: Bool = false) -> StandbyMachine {
        var machine = machine()
        send(.hello(hello(disk: disk), Sample.room, on: 1), to: &machine)
        send(.epochWhole(0, on: 1), to: &machine)
        return machine
    }

    /// Lets time pass for ten seconds, and returns when it wanted to activate first, in milliseconds.
    private func activates(_ machine: inout StandbyMachine) -> UInt64? {
        for step: UInt64 in 1...200 {
            let now = Sample.start + .milliseconds(50 * step)
            if send(.tick, to: &machine, at: now).contains(.activate) { return 50 * step }
        }
        return nil
    }

    private func decide(_ machine: StandbyMachine, _ order: ActivationOrder = ActivationOrder())
        -> ActivationDecision
    {
        machine.decide(order, primaryGoneSince: nil, at: Sample.start + .seconds(60))
    }

    // MARK: What is asked

    @Test func theNextGenerationIsAskedFromTheImagesOwn() throws {
        var machine = replicating()
        send(.connectionLost(1), to: &machine)
        #expect(decide(machine) == .ask(generation: 6), "nobody vouches, and no time makes the image older")
        let (facts, request) = try #require(machine.wishing(for: Sample.guest.uuid, id: 77))
        #expect(request.from == 5 && request.usedBefore)
        #expect(request.wanted == GrantRecord(generation: 6, owner: "beta", id: 77))
        // Unanswered, it is asked again with its own id, also by a daemon that starts.
        machine.adopt(facts, runsHere: false, imageConsumed: false)
        #expect(machine.wishing(for: Sample.guest.uuid, id: 78)?.request == request)
        let next = self.machine(facts, image: machine.image)
        #expect(next.wishing(for: Sample.guest.uuid, id: 79)?.request == request)
    }

    @Test func aLaterHelloThatKeepsTheImageMovesIt() throws {
        var machine = replicating()
        send(.connectionLost(1), to: &machine)
        let wish = try #require(machine.wishing(for: Sample.guest.uuid, id: 77))
        machine.adopt(wish.facts, runsHere: false, imageConsumed: false)
        send(.hello(hello(generation: 6, session: 10, stillValid: true), Sample.room, on: 2), to: &machine)
        send(.connectionLost(2), to: &machine)
        #expect(machine.image?.generation == 5 && decide(machine) == .ask(generation: 7))
        let request = try #require(machine.wishing(for: Sample.guest.uuid, id: 78)?.request)
        #expect(request.from == 6 && request.wanted.id == 78, "the older wish can be granted no more")
    }

    @Test func noSessionBeginsWhileItIsAsked() {
        var machine = replicating()
        send(.connectionLost(1), to: &machine)
        machine.isAsking = true
        #expect(machine.refusal(of: hello(), at: Sample.start)?.reason == .busy)
    }

    @Test func aGrantIsWrittenDownWithItsId() throws {
        var machine = replicating()
        send(.connectionLost(1), to: &machine)
        let record = GrantRecord(generation: 6, owner: "beta", id: 77)
        let facts = machine.activated(as: 6, id: 77, granted: record)
        #expect(facts.state == .active && facts.activationID == 77 && facts.activatedFrom == 5)
        #expect(facts.arbiter == ArbiterFacts(name: "a", granted: 6, usedBefore: true))
        machine.adopt(facts, runsHere: false, imageConsumed: false)
        #expect(decide(machine) == .allowed(generation: 6), "a grant is permanent")
    }

    @Test func whatStandsInTheWay() {
        var disk = replicating(disk: true)
        send(.connectionLost(1), to: &disk)
        guard case .fencingUnconfirmed = decide(disk) else {
            Issue.record("a grant fences no disk")
            return
        }
        #expect(decide(disk, ActivationOrder(confirmFenced: "alpha")) == .ask(generation: 6))
        var other = replicating()
        send(.connectionLost(1), to: &other)
        other.arbiter = nil
        guard case .arbiterDiffers = decide(other, ActivationOrder(confirmFenced: "alpha")) else {
            Issue.record("an image that goes by an arbiter is activated without it")
            return
        }
    }

    @Test func aForcedActivationNeedsEveryWord() {
        var machine = replicating()
        send(.connectionLost(1), to: &machine)
        var order = ActivationOrder(force: true)
        guard case .generationMismatch = decide(machine, order) else {
            Issue.record("forced without a generation")
            return
        }
        order.ifGeneration = 5
        guard case .fencingUnconfirmed = decide(machine, order) else {
            Issue.record("forced without a word about the primary")
            return
        }
        order.confirmFenced = "alpha"
        guard case .mayBeOlder = decide(machine, order) else {
            Issue.record("the primary may have been granted the guest")
            return
        }
        order.acceptRollback = true
        #expect(decide(machine, order) == .allowed(generation: 6))
    }

    @Test func aPersonIsAskedWhereNothingDecides() {
        var machine = machine()
        machine.arbiter = ArbiterChoice(name: "manual", decides: false)
        send(.hello(hello(arbiter: "manual"), Sample.room, on: 1), to: &machine)
        send(.epochWhole(0, on: 1), to: &machine)
        send(.connectionLost(1), to: &machine)
        guard case .fencingUnconfirmed = decide(machine) else {
            Issue.record("activated without anybody's word")
            return
        }
        // The primary goes on by a word only: no time makes the image older.
        #expect(decide(machine, ActivationOrder(confirmFenced: "alpha")) == .allowed(generation: 6))
    }

    // MARK: By itself

    @Test func silenceActivatesAtOnceAndAnEndLater() {
        var silent = replicating()
        let at = activates(&silent)
        #expect(at.map { $0 > 1000 && $0 <= 1200 } == true)
        var ended = replicating()
        send(.connectionLost(1), to: &ended)
        #expect(activates(&ended).map { $0 >= 5000 } == true)
    }

    @Test func itIsTriedAgainUnlessItWasDenied() {
        var machine = replicating()
        _ = activates(&machine)
        let later = Sample.start + .seconds(20)
        #expect(!send(.tick, to: &machine, at: later).contains(.activate))
        send(.activationFailed(again: true), to: &machine, at: later)
        #expect(send(.tick, to: &machine, at: later + .seconds(3)).contains(.activate))
        send(.activationFailed(again: false), to: &machine, at: later)
        #expect(!send(.tick, to: &machine, at: later + .seconds(60)).contains(.activate))
    }

    @Test func aPrimaryThatComesBackEndsThat() {
        var machine = replicating()
        send(.connectionLost(1), to: &machine)
        send(.hello(hello(), Sample.room, on: 2), to: &machine)
        send(.received(.heartbeat(Heartbeat(number: 1, sentAt: Sample.start)), on: 2), to: &machine)
        send(.received(.plannedEnd(PlannedEnd(reason: .unprotect, generation: 6)), on: 2), to: &machine)
        send(.connectionLost(2), to: &machine)
        #expect(activates(&machine) == nil, "never after a planned end")
    }

    enum Without: CaseIterable { case image, automation, decision, word, restart, disk }

    @Test(arguments: Without.allCases) func nothingIsActivatedByItself(_ without: Without) {
        var machine = replicating(disk: without == .disk)
        switch without {
        case .image:
            machine = self.machine()
            send(.hello(hello(), Sample.room, on: 1), to: &machine)
        case .automation: machine.activatesByItself = false
        case .decision: machine.arbiter = ArbiterChoice(name: "a", decides: false)
        case .word:
            send(.received(.plannedEnd(PlannedEnd(reason: .crashed, generation: 6)), on: 1), to: &machine)
        // What was lost in another daemon's time was not lost in this one's.
        case .restart: machine = self.machine(machine.facts, image: machine.image)
        case .disk: break
        }
        #expect(activates(&machine) == nil)
    }
}
