import Checkpoint
import Testing

/// What a hello may and may not undo: a grant, a crash, an image.
@Suite struct StandbyGrantTests {
    /// Holds epoch 2 of generation 5, its connection lost at `Sample.start`.
    private func holding() -> StandbyMachine {
        var machine = StandbyMachine(facts: StandbyFacts(), image: nil, host: "beta")
        send(.hello(Sample.hello(), Sample.room, on: 1), to: &machine)
        for epoch in 0...2 { send(.epochWhole(UInt64(epoch), on: 1), to: &machine) }
        send(.connectionLost(1), to: &machine)
        return machine
    }

    private func refusal(_ effects: [StandbyEffect]) -> RefusalReason? {
        for case .send(.refuse(let refusal), _) in effects { return refusal.reason }
        return nil
    }

    @Test(arguments: [UInt64(5), 6, 7, 99])
    func aGrantOutlivesRestartsOfThePrimary(_ generation: UInt64) {
        var machine = holding()
        machine.adopt(machine.activated(as: 6, id: 1), runsHere: false, imageConsumed: false)
        let restarted = Sample.hello(generation: generation, session: 77, imageStillValid: true)
        #expect(refusal(send(.hello(restarted, Sample.room, on: 2), to: &machine)) == .active)
        #expect(machine.facts.state == .active && machine.image?.epoch == 2)
    }

    @Test func aPrimaryThatWentAloneOutranksAGrantThatNeverStarted() {
        var machine = holding()
        machine.adopt(machine.activated(as: 6, id: 1), runsHere: false, imageConsumed: false)
        let alone = Sample.hello(generation: 7, session: 77, imageStillValid: false)
        let effects = send(.hello(alone, Sample.room, on: 2), to: &machine)
        #expect(effects.contains(.dropImage) && effects.contains(.beginImage))
        #expect(machine.facts == StandbyFacts(state: .dropped, generation: 7))
    }

    /// Nothing of it can be started any more: the guest that is begun anew elsewhere is none that it outdates.
    @Test func aGuestThatWasActivatedAndEndedGivesWayToANewOne() {
        var machine = holding()
        machine.adopt(machine.activated(as: 6, id: 1), runsHere: true, imageConsumed: true)
        let anew = Sample.hello(generation: 6, session: 77)
        #expect(refusal(send(.hello(anew, Sample.room, on: 2), to: &machine)) == .active)
        machine.runsHere = false
        #expect(refusal(send(.hello(anew, Sample.room, on: 3), to: &machine)) == .generationTooLow)
        // A copy whose output is held for that image belongs to the history that the grant ended.
        let held = Sample.hello(generation: 6, session: 78, imageStillValid: true)
        #expect(refusal(send(.hello(held, Sample.room, on: 4), to: &machine)) == .active)
        let raised = Sample.hello(generation: 7, session: 77)
        #expect(send(.hello(raised, Sample.room, on: 5), to: &machine).contains(.beginImage))
    }

    @Test(arguments: [true, false])
    func aCrashedGuestThatRunsAgainNeedsSomebodysWord(_ sameSession: Bool) {
        var machine = holding()
        send(.hello(Sample.hello(), Sample.room, on: 2), to: &machine)
        send(.received(.plannedEnd(PlannedEnd(reason: .crashed, generation: 6)), on: 2), to: &machine)
        send(.connectionLost(2), to: &machine)
        let free = ActivationOrder()
        let later = Sample.start + .seconds(2)
        #expect(machine.decide(free, primaryGoneSince: nil, at: later) == .allowed(generation: 6))
        let again =
            sameSession
            ? Sample.hello() : Sample.hello(generation: 6, session: 77, imageStillValid: true)
        let effects = send(.hello(again, Sample.room, on: 3), to: &machine, at: later)
        #expect(effects.contains { if case .store(let facts) = $0 { facts.state == .image } else { false } })
        send(.connectionLost(3), to: &machine, at: later)
        guard case .fencingUnconfirmed = machine.decide(free, primaryGoneSince: nil, at: later) else {
            Issue.record("activated without fencing while the guest may run")
            return
        }
    }

    @Test func aLargeEpochIsNotSilence() {
        var machine = holding()
        send(.hello(Sample.hello(), Sample.room, on: 2), to: &machine)
        for step in 1...30 {
            let now = Sample.start + .milliseconds(UInt64(step) * 200)
            let event: StandbyEvent = step < 15 ? .dataReceived(on: 2) : .notListening(on: 2)
            #expect(!send(event, to: &machine, at: now).contains(.close(2)))
        }
        let silent = Sample.start + .milliseconds(6000 + 1001)
        #expect(send(.tick, to: &machine, at: silent).contains(.close(2)))
    }

    @Test func dataOfAnotherConnectionKeepsNobodyAlive() {
        var machine = holding()
        send(.hello(Sample.hello(), Sample.room, on: 2), to: &machine)
        let later = Sample.start + .milliseconds(1001)
        #expect(send(.dataReceived(on: 1), to: &machine, at: later).isEmpty)
        #expect(send(.tick, to: &machine, at: later).contains(.close(2)))
    }

    @Test func aPlannedEndOfAnotherGenerationEndsTheSession() {
        var machine = holding()
        send(.hello(Sample.hello(), Sample.room, on: 2), to: &machine)
        let end = PlannedEnd(reason: .unprotect, generation: 9)
        #expect(refusal(send(.received(.plannedEnd(end), on: 2), to: &machine)) == .violation)
        #expect(machine.liveConnection == nil && machine.image?.epoch == 2)
    }

    @Test func whatFailedIsNotBelieved() {
        var machine = holding()
        let (facts, image) = (machine.facts, machine.image)
        send(.hello(Sample.hello(), Sample.room, on: 2), to: &machine)
        send(.received(.plannedEnd(PlannedEnd(reason: .unprotect, generation: 6)), on: 2), to: &machine)
        // Its record could not be written: the image is there, and nobody was told otherwise.
        machine.undo(durable: facts, image: image)
        let effects = send(.failure(.failure, "no space", on: 2), to: &machine)
        #expect(refusal(effects) == .failure)
        #expect(machine.facts == facts && machine.image == image && machine.liveConnection == nil)
        let back = send(.hello(Sample.hello(), Sample.room, on: 3), to: &machine)
        #expect(back.contains(.continueImage(after: 2)))
    }

    // MARK: An image that cannot stay

    @Test func anImageThatIsLostEndsTheSessionThatGoesOnFromIt() {
        var machine = StandbyMachine(facts: StandbyFacts(), image: nil, host: "beta")
        send(.hello(Sample.hello(), Sample.room, on: 1), to: &machine)
        send(.epochWhole(0, on: 1), to: &machine)
        let effects = send(.imageLost("its helper ended"), to: &machine)
        #expect(effects.first == .dropImage && refusal(effects) == .failure)
        #expect(machine.liveConnection == nil && machine.image == nil && machine.facts.state == .image)
        // The same session has nothing to go on from: it is told so, and begins with epoch 0.
        let again = send(.hello(Sample.hello(), Sample.room, on: 2), to: &machine)
        #expect(again.contains(.beginImage))
        // Lost once is lost: nothing follows a second word, or one about an image that is not there yet.
        #expect(send(.imageLost("its helper ended"), to: &machine).isEmpty)
        #expect(machine.liveConnection == 2)
    }

    @Test func anExclusiveImageGoesBeforeANewSessionBegins() {
        var machine = holding()
        machine.imageIsExclusive = true
        let next = Sample.hello(generation: 6, session: 77, imageStillValid: true)
        let effects = send(.hello(next, Sample.room, on: 2), to: &machine)
        let drop = effects.firstIndex(of: .dropImage)
        let begin = effects.firstIndex(of: .beginImage)
        #expect(drop != nil && begin != nil && (drop ?? 0) < (begin ?? 0))
        #expect(effects.first == .store(StandbyFacts(state: .dropped, generation: 6)), "durably, and first")
        for case .send(.welcome(let welcome), _) in effects { #expect(!welcome.keepsOlderImage) }
        // Its own session goes on, of course.
        var same = holding()
        same.imageIsExclusive = true
        #expect(
            send(.hello(Sample.hello(), Sample.room, on: 2), to: &same).contains(.continueImage(after: 2))
        )
    }
}
