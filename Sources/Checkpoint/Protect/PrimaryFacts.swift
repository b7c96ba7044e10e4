/// What a primary durably knows of a guest: its record, without the file.
///
/// At every instant it is safe to begin anew with: what it says is written before it comes true where it restrains, and
/// after where it permits.
package struct PrimaryFacts: Equatable, Sendable {
    package var generation: UInt64
    /// The standby whose image output is held for, or will be; nil if nobody knows.
    package var standby: String?
    /// The longest alone-after that an image of the guest may trust.
    package var aloneAfter: TimeSpan
    /// The generation at which the guest was found active elsewhere: this copy may not run any more.
    package var outdatedBy: UInt64?
    /// The arbiter of this protection, and what it granted; nil: there is none.
    package var arbiter: ArbiterFacts?

    package init(
        generation: UInt64 = 0,
        standby: String? = nil,
        aloneAfter: TimeSpan,
        outdatedBy: UInt64? = nil,
        arbiter: ArbiterFacts? = nil
    ) {
        self.generation = generation
        self.standby = standby
        self.aloneAfter = aloneAfter
        self.outdatedBy = outdatedBy
        self.arbiter = arbiter
    }
}

/// Output is held for an image that goes by another arbiter than the one that protection was to begin with: each side
/// would have its own permission.
package struct ArbiterChanged: Error, Equatable, Sendable, CustomStringConvertible {
    package let recorded: String?, configured: String?

    package init(recorded: String?, configured: String?) {
        self.recorded = recorded
        self.configured = configured
    }

    package var description: String {
        let wanted = recorded.map { "--arbiter \($0)" } ?? "no --arbiter"
        return
            "output is held for an image that goes by \(recorded.map { "the arbiter \($0)" } ?? "no arbiter"), not by "
            + "\(configured ?? "none"): protect with \(wanted) again, and unprotect before it is changed"
    }
}

/// What a protection begins with.
package struct PrimaryStart: Equatable, Sendable {
    /// Durable already.
    package var generation: UInt64
    /// Output is held for an image at another standby than ours, or at one that nobody remembers.
    package var imageElsewhere = false
    /// The standby whose image output is held for, if that is known to be another one than ours.
    package var otherStandby: String?
    /// The longest alone-after that an image may trust; nil if there is no image to trust any.
    package var recordedAloneAfter: TimeSpan?
    /// The generation that is active elsewhere: this copy may not run any more.
    package var outdatedBy: UInt64?
    /// No record says whose image output is held for, nor by which arbiter that goes.
    package var isUnknown = false

    package init(
        generation: UInt64,
        imageElsewhere: Bool = false,
        otherStandby: String? = nil,
        recordedAloneAfter: TimeSpan? = nil,
        outdatedBy: UInt64? = nil,
        isUnknown: Bool = false
    ) {
        self.generation = generation
        self.imageElsewhere = imageElsewhere
        self.otherStandby = otherStandby
        self.recordedAloneAfter = recordedAloneAfter
        self.outdatedBy = outdatedBy
        self.isUnknown = isUnknown
    }
}

extension PrimaryFacts {
    /// Begins a protection at `standby` and with `aloneAfter`. The generation rises with each: one more than the highest
    /// that this host knows, also as a standby, since a guest that was activated here has the generation of that. Where an
    /// arbiter decides, it is still to be granted, and is the highest known until then.
    /// - Parameters:
    ///   - own: what the record says of this very guest, nil if there is none.
    ///   - asStandby: what this host knows of it as a standby.
    ///   - vouched: the generation of the arbiter's record, whose owner somebody vouches for: it is over there. Counts
    ///     where nothing is held.
    ///   - plugWasClosed: output is held for an image that a predecessor made. Then the record goes on naming that
    ///     image's standby (none where a record was lost and nobody knows it), the longer alone-after, and what outdated
    ///     this copy, which may be what this host knows as a standby. Output that passes freely is held for nobody.
    /// - Returns: the facts to write down before anything else, and what the protection begins with.
    package static func beginning(
        after own: PrimaryFacts?,
        asStandby: StandbyFacts?,
        plugWasClosed: Bool,
        standby: String,
        aloneAfter: TimeSpan,
        arbiter: ArbiterChoice? = nil,
        vouched: UInt64? = nil
    ) throws(ArbiterChanged) -> (facts: PrimaryFacts, start: PrimaryStart) {
        let vouched = plugWasClosed ? nil : vouched
        let known = max(own?.generation ?? 0, asStandby?.generation ?? 0, vouched ?? 0)
        var start = PrimaryStart(generation: arbiter?.decides == true ? known : known + 1)
        if plugWasClosed {
            start.outdatedBy = own.flatMap { $0.outdatedBy ?? overtaken($0, asStandby) }
            if let own, start.outdatedBy == nil, own.arbiter?.name != arbiter?.name {
                throw ArbiterChanged(recorded: own.arbiter?.name, configured: arbiter?.name)
            }
            start.isUnknown = own == nil
            let recorded = own?.aloneAfter ?? ProtectSettings().aloneAfter
            start.imageElsewhere = own?.standby != standby
            start.otherStandby = own?.standby.flatMap { $0 == standby ? nil : $0 }
            start.recordedAloneAfter = max(recorded, aloneAfter)
        }
        let facts = PrimaryFacts(
            generation: start.generation,
            standby: start.imageElsewhere ? start.otherStandby : standby,
            aloneAfter: start.recordedAloneAfter ?? aloneAfter,
            outdatedBy: start.outdatedBy,
            arbiter: arbiter.map { memory(of: $0.name, own?.arbiter, asStandby?.arbiter, vouched) }
        )
        return (facts, start)
    }

    /// The generation at which the guest ran elsewhere, or was activated here, since the copy of `own` was protected: what
    /// begins is above all that this host knows, so a standby's record that is above it was written later.
    private static func overtaken(_ own: PrimaryFacts, _ asStandby: StandbyFacts?) -> UInt64? {
        asStandby.flatMap { $0.generation > own.generation ? $0.generation : nil }
    }

    /// What this host knows of its record at the arbiter `name`, in both its roles.
    private static func memory(
        of name: String,
        _ own: ArbiterFacts?,
        _ asStandby: ArbiterFacts?,
        _ vouched: UInt64?
    ) -> ArbiterFacts {
        var memory = own.flatMap { $0.name == name ? $0 : nil } ?? ArbiterFacts(name: name)
        if let other = asStandby, other.name == name, other.granted > memory.granted {
            // An older wish can be granted no more: it would be swapped from a record that is gone.
            memory = ArbiterFacts(name: name, granted: other.granted, usedBefore: other.usedBefore)
        }
        // A word that was overtaken by a grant says nothing any more: the same command line may be repeated.
        if let vouched, vouched >= memory.granted { memory = ArbiterFacts(name: name, granted: vouched) }
        return memory
    }

    /// Wishes for `generation`: to be written down before it is asked for. Nil without an arbiter.
    package mutating func wish(
        for guest: GuestUUID,
        _ generation: UInt64,
        owner: String,
        id: UInt64
    ) -> GrantRequest? {
        arbiter?.wish(for: guest, generation, owner: owner, id: id)
    }

    /// The arbiter granted what was wished for.
    package mutating func grant(_ record: GrantRecord, standby: String) {
        arbiter?.noteGrant(record)
        raise(to: max(generation, record.generation), standby: standby)
    }

    /// Somebody vouched that the standby is off: the guest goes on at `generation`, which no arbiter granted.
    package mutating func goOn(as generation: UInt64, standby: String) {
        arbiter?.noteWord()
        raise(to: generation, standby: standby)
    }

    /// This copy is to be kept, somebody says, and the one that has `other` is not.
    package mutating func prevail(over other: UInt64) {
        guard var memory = arbiter else { return }
        if memory.granted < other { memory = ArbiterFacts(name: memory.name, granted: other) }
        memory.noteWord()
        arbiter = memory
    }

    /// The guest has a higher generation. Over a plug that was closed for another standby this is the permission to go
    /// alone, so from here on the record names ours.
    package mutating func raise(to generation: UInt64, standby: String) {
        self.generation = generation
        self.standby = standby
    }

    /// No image is left that trusts a longer alone-after than ours.
    package mutating func shorten(to aloneAfter: TimeSpan, standby: String) {
        self.aloneAfter = aloneAfter
        self.standby = standby
    }
}
