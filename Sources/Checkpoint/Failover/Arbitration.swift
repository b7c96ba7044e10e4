/// Who permits a primary to go on without its standby, and a standby without its primary (design, "A failure").
package enum Arbitration: Equatable, Sendable {
    /// Nobody is asked: the primary goes on alone after `aloneAfter`, a standby by somebody's word only.
    case preferPrimary
    /// Each generation is granted. Where the arbiter does not decide by itself it is a person, and both sides hold.
    case arbiter(decides: Bool)

    /// Grants are asked for.
    package var decides: Bool { self == .arbiter(decides: true) }
}

/// The arbiter that a side was started with.
package struct ArbiterChoice: Equatable, Sendable {
    /// The same on both sides (`Arbiter.name`).
    package var name: String
    package var decides: Bool

    package init(name: String, decides: Bool) {
        self.name = name
        self.decides = decides
    }

    package init(_ arbiter: some Arbiter) { self.init(name: arbiter.name, decides: arbiter.decides) }
}

/// What a host durably knows of a guest's record at an arbiter.
package struct ArbiterFacts: Equatable, Sendable {
    package var name: String
    /// The record's generation, as far as this host knows: what a request is swapped from. 0: none.
    package var granted: UInt64
    /// The arbiter has kept a record of the guest: one that is missing, or lower, was lost. False until it has, and
    /// after somebody's word stood in for it.
    package var usedBefore: Bool
    /// Asked for, or about to be, and not answered: it may have been granted.
    package var wish: GrantRecord?

    package init(name: String, granted: UInt64 = 0, usedBefore: Bool = false, wish: GrantRecord? = nil) {
        self.name = name
        self.granted = granted
        self.usedBefore = usedBefore
        self.wish = wish
    }

    /// Wishes for `generation`, unless an older wish is unanswered: that one comes first, with its own id.
    package mutating func wish(
        for guest: GuestUUID,
        _ generation: UInt64,
        owner: String,
        id: UInt64
    ) -> GrantRequest {
        let wanted = wish ?? GrantRecord(generation: generation, owner: owner, id: id)
        wish = wanted
        return GrantRequest(guest: guest, from: granted, wanted: wanted, usedBefore: usedBefore)
    }

    /// The wish was granted.
    package mutating func noteGrant(_ record: GrantRecord) {
        granted = record.generation
        usedBefore = true
        wish = nil
    }

    /// Somebody's word stood in for the arbiter: what it keeps, or has lost, binds this host no longer.
    package mutating func noteWord() { usedBefore = false }
}
