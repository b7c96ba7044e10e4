import Checkpoint

/// What both kinds of record keep of a guest's record at an arbiter.
package struct ArbiterRecord: Codable, Equatable, Sendable {
    /// What was asked for and not answered.
    package struct Wish: Codable, Equatable, Sendable {
        package var generation: UInt64
        package var owner: String
        /// Hexadecimal.
        package var id: String
    }

    package var name: String
    /// The generation of the arbiter's record, as far as this host knows; 0: none.
    package var generation: UInt64
    /// The arbiter has kept a record of the guest.
    package var usedBefore: Bool
    package var wish: Wish?

    package enum CodingKeys: String, CodingKey {
        case name, generation
        case usedBefore = "used_before"
        case wish
    }

    package init(_ facts: ArbiterFacts) {
        name = facts.name
        generation = facts.granted
        usedBefore = facts.usedBefore
        wish = facts.wish.map {
            Wish(generation: $0.generation, owner: $0.owner, id: HexID.text($0.id))
        }
    }

    /// Nil for a wish without a number: its id must not be made up.
    package var facts: ArbiterFacts? {
        var facts = ArbiterFacts(name: name, granted: generation, usedBefore: usedBefore)
        guard let wish else { return facts }
        guard let id = HexID.parse(wish.id) else { return nil }
        facts.wish = GrantRecord(generation: wish.generation, owner: wish.owner, id: id)
        return facts
    }
}
