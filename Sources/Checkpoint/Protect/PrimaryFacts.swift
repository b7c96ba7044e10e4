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

    package init(
        generation: UInt64 = 0,
        standby: String? = nil,
        aloneAfter: TimeSpan,
        outdatedBy: UInt64? = nil
    ) {
        self.generation = generation
        self.standby = standby
        self.aloneAfter = aloneAfter
        self.outdatedBy = outdatedBy
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

    package init(
        generation: UInt64,
        imageElsewhere: Bool = false,
        otherStandby: String? = nil,
        recordedAloneAfter: TimeSpan? = nil,
        outdatedBy: UInt64? = nil
    ) {
        self.generation = generation
        self.imageElsewhere = imageElsewhere
        self.otherStandby = otherStandby
        self.recordedAloneAfter = recordedAloneAfter
        self.outdatedBy = outdatedBy
    }
}

extension PrimaryFacts {
    /// Begins a protection at `standby` and with `aloneAfter`. The generation rises with each: one more than the highest
    /// that this host knows, also as a standby, since a guest that was activated here has the generation of that.
    /// - Parameters:
    ///   - own: what the record says of this very guest, nil if there is none.
    ///   - standbyGeneration: the generation that this host knows of it as a standby.
    ///   - plugWasClosed: output is held for an image that a predecessor made. Then the record goes on naming that
    ///     image's standby (none where a record was lost and nobody knows it), the longer alone-after, and what outdated
    ///     this copy. Output that passes freely is held for nobody.
    /// - Returns: the facts to write down before anything else, and what the protection begins with.
    package static func beginning(
        after own: PrimaryFacts?,
        standbyGeneration: UInt64?,
        plugWasClosed: Bool,
        standby: String,
        aloneAfter: TimeSpan
    ) -> (facts: PrimaryFacts, start: PrimaryStart) {
        var start = PrimaryStart(generation: max(own?.generation ?? 0, standbyGeneration ?? 0) + 1)
        if plugWasClosed {
            let recorded = own?.aloneAfter ?? ProtectSettings().aloneAfter
            start.imageElsewhere = own?.standby != standby
            start.otherStandby = own?.standby.flatMap { $0 == standby ? nil : $0 }
            start.recordedAloneAfter = max(recorded, aloneAfter)
            start.outdatedBy = own?.outdatedBy
        }
        let facts = PrimaryFacts(
            generation: start.generation,
            standby: start.imageElsewhere ? start.otherStandby : standby,
            aloneAfter: start.recordedAloneAfter ?? aloneAfter,
            outdatedBy: start.outdatedBy
        )
        return (facts, start)
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
