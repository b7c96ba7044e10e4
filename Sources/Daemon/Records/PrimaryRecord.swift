import Checkpoint

/// What a primary must not forget about a guest.
package struct PrimaryRecord: DurableRecord, Equatable {
    package static let currentSchema = "remusd.primary-record/1"

    package var schema: String
    package var guest: String
    package var uuid: String
    /// The generation this side may run the guest at.
    package var generation: UInt64
    /// The last session's id, in hexadecimal.
    package var session: String?
    /// The address of the standby whose image output is held for, or will be; nil if nobody knows.
    package var peer: String?
    /// How connections to that standby are protected; nil in an older remusd's record.
    package var link: LinkMode?
    /// The name of that standby's host, as its welcome said; nil before the first one, and in an older remusd's record.
    package var standbyHost: String?
    /// The longest alone-after that an image of the guest may trust, in milliseconds; nil in an older remusd's record.
    package var aloneAfterMs: UInt64?
    /// The generation at which the guest was found active elsewhere: this copy may not run any more. Nil while it may.
    package var outdatedBy: UInt64?
    /// The arbiter of the protection, nil if it has none.
    package var arbiter: ArbiterRecord?
    /// RFC 3339, UTC; for people.
    package var updatedAt: String

    package init(
        guest: String,
        uuid: String,
        generation: UInt64,
        session: String?,
        peer: String?,
        aloneAfterMs: UInt64? = nil,
        updatedAt: String = Timestamp.now
    ) {
        schema = Self.currentSchema
        self.guest = guest
        self.uuid = uuid
        self.generation = generation
        self.session = session
        self.peer = peer
        self.aloneAfterMs = aloneAfterMs
        self.updatedAt = updatedAt
    }

    package enum CodingKeys: String, CodingKey {
        case schema, guest, uuid, generation, session, peer, link
        case standbyHost = "standby_host"
        case aloneAfterMs = "alone_after_ms"
        case outdatedBy = "outdated_by"
        case arbiter
        case updatedAt = "updated_at"
    }

    /// `aloneAfterMs` as a span, rounded up; a year at most.
    package var aloneAfter: TimeSpan? {
        get { aloneAfterMs.map { .milliseconds(min($0, 365 * 86_400_000)) } }
        set { aloneAfterMs = newValue.map { ($0.nanoseconds + 999_999) / 1_000_000 } }
    }
}
