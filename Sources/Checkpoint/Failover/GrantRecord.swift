/// What an arbiter keeps of a guest: who may run it, for ever, until somebody swaps it (design, "A failure").
package struct GrantRecord: Hashable, Sendable {
    /// The guest's highest generation that was granted.
    package var generation: UInt64
    /// The name of the host that it was granted to.
    package var owner: String
    /// Random, chosen by who asked: a retry that finds its own id has won already.
    package var id: UInt64

    package init(generation: UInt64, owner: String, id: UInt64) {
        self.generation = generation
        self.owner = owner
        self.id = id
    }
}

/// One host's wish to run a guest at the next generation. Kept durably before it is asked, so that whoever asks again
/// after a crash asks with the same id.
package struct GrantRequest: Hashable, Sendable {
    package var guest: GuestUUID
    /// The generation that the asker has: its image's, or the one that it runs at. Zero: the guest's first record.
    package var from: UInt64
    /// What the arbiter's record is to be.
    package var wanted: GrantRecord
    /// The asker knows that this arbiter has kept a record of the guest: one that is missing, or lower, was lost.
    package var usedBefore: Bool

    package init(guest: GuestUUID, from: UInt64, wanted: GrantRecord, usedBefore: Bool) {
        self.guest = guest
        self.from = from
        self.wanted = wanted
        self.usedBefore = usedBefore
    }
}

/// What came of a request.
package enum GrantAnswer: Equatable, Sendable {
    /// Granted, now or at an earlier try.
    case granted(GrantRecord)
    /// Somebody else has that generation, or a higher one.
    case denied(by: GrantRecord)
    /// The arbiter kept a record once and has none, or a lower one: it lost its memory, and nothing it grants counts.
    case memoryLost(found: GrantRecord?)
    /// No answer, or none that can be trusted; what was asked may have been granted all the same.
    case unavailable(String)
}

extension GrantRecord {
    /// For people, to go on from.
    package var grantText: String { "the arbiter granted generation \(generation) to \(owner)" }
}

extension GrantAnswer {
    /// That an arbiter lost its memory, for people.
    package static func memoryLostText(found: GrantRecord?) -> String {
        let text = found.map { "it has a record of generation \($0.generation), which is too low" }
        return "the arbiter lost its memory: \(text ?? "it has no record of this guest")"
    }
}

extension GrantRequest {
    /// What the arbiter's record means for this request.
    package enum Judgement: Equatable, Sendable {
        /// The record is what it should be: swap exactly `expecting` (nil: nothing is there) for `wanted`.
        case swap(expecting: GrantRecord?)
        case answer(GrantAnswer)
    }

    /// Judges a record that was read; the swap that may follow must fail if the record is not `found` any more.
    package func judge(_ found: GrantRecord?) -> Judgement {
        guard let found else {
            return usedBefore ? .answer(.memoryLost(found: nil)) : .swap(expecting: nil)
        }
        if found == wanted { return .answer(.granted(found)) }
        if found.generation == from { return .swap(expecting: found) }
        if found.generation > from { return .answer(.denied(by: found)) }
        return usedBefore ? .answer(.memoryLost(found: found)) : .swap(expecting: found)
    }
}
