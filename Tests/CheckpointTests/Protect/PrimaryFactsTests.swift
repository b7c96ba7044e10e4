import Checkpoint
import Testing

/// What a protection begins with, from what this host knows in both its roles.
@Suite struct PrimaryFactsTests {
    private static let choice = ArbiterChoice(name: "a", decides: true)

    private func own(_ generation: UInt64, arbiter: Bool) -> PrimaryFacts {
        PrimaryFacts(
            generation: generation,
            standby: "beta:1",
            aloneAfter: .seconds(10),
            arbiter: arbiter ? ArbiterFacts(name: "a", granted: generation, usedBefore: true) : nil
        )
    }

    private func begin(
        _ own: PrimaryFacts?,
        _ asStandby: StandbyFacts?,
        held: Bool,
        arbiter: Bool
    ) throws -> (facts: PrimaryFacts, start: PrimaryStart) {
        try PrimaryFacts.beginning(
            after: own,
            asStandby: asStandby,
            plugWasClosed: held,
            standby: "beta:1",
            aloneAfter: .seconds(10),
            arbiter: arbiter ? Self.choice : nil
        )
    }

    /// The guest was activated at the other host, protected from there to this one, and the old copy is here still.
    @Test(arguments: [StandbyFacts.State.image, .dropped, .crashed, .active], [true, false])
    func heldOutputIsOutdatedByWhatThisHostKnowsAsAStandby(
        _ state: StandbyFacts.State,
        _ arbiter: Bool
    ) throws {
        let memory = arbiter ? ArbiterFacts(name: "a", granted: 3, usedBefore: true) : nil
        let known = StandbyFacts(state: state, generation: 3, arbiter: memory)
        let (facts, start) = try begin(own(1, arbiter: arbiter), known, held: true, arbiter: arbiter)
        #expect(start.outdatedBy == 3 && facts.outdatedBy == 3)
        // Whatever it goes by now.
        let other = try begin(own(1, arbiter: !arbiter), known, held: true, arbiter: arbiter)
        #expect(other.start.outdatedBy == 3)
    }

    @Test(arguments: [UInt64(2), 3]) func whatRanElsewhereBeforeOutdatesNothing(_ known: UInt64) throws {
        let facts = StandbyFacts(state: .active, generation: known)
        #expect(try begin(own(3, arbiter: false), facts, held: true, arbiter: false).start.outdatedBy == nil)
    }

    @Test func whatPassesFreelyIsAnotherCopys() throws {
        let memory = ArbiterFacts(name: "a", granted: 3, usedBefore: true)
        let known = StandbyFacts(state: .active, generation: 3, arbiter: memory)
        let (facts, start) = try begin(own(1, arbiter: true), known, held: false, arbiter: true)
        #expect(start == PrimaryStart(generation: 3) && facts.arbiter == memory)
    }

    @Test func overHeldOutputTheArbiterIsTheRecords() throws {
        for arbiter in [true, false] {
            let facts = own(3, arbiter: arbiter)
            #expect(throws: ArbiterChanged.self) { try begin(facts, nil, held: true, arbiter: !arbiter) }
            #expect(throws: Never.self) { try begin(facts, nil, held: false, arbiter: !arbiter) }
        }
    }
}
