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
    /// The standby's address.
    package var peer: String?
    /// RFC 3339, UTC; for people.
    package var updatedAt: String

    package init(
        guest: String,
        uuid: String,
        generation: UInt64,
        session: String?,
        peer: String?,
        updatedAt: String = Timestamp.now
    ) {
        schema = Self.currentSchema
        self.guest = guest
        self.uuid = uuid
        self.generation = generation
        self.session = session
        self.peer = peer
        self.updatedAt = updatedAt
    }

    package enum CodingKeys: String, CodingKey {
        case schema, guest, uuid, generation, session, peer
        case updatedAt = "updated_at"
    }
}
