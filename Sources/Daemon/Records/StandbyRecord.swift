/// What a standby must not forget about a guest.
package struct StandbyRecord: DurableRecord, Equatable {
    /// What became of the guest here.
    package enum State: String, Codable, CaseIterable, Sendable {
        /// There is an image, of this generation.
        case image
        /// The image was given up at a planned end, at this generation.
        case dropped
        /// The guest runs, or ran, here at this generation.
        case active
        /// The guest crashed at the primary; the image is kept.
        case crashed
    }

    package static let currentSchema = "remusd.standby-record/1"

    package var schema: String
    package var guest: String
    package var uuid: String
    package var generation: UInt64
    package var state: State
    /// The image's generation before it became active.
    package var activatedFrom: UInt64?
    /// The random id of the grant: the same generation with another id is a split brain.
    package var id: String?
    /// The arbiter that the image goes by, nil if it goes by none.
    package var arbiter: ArbiterRecord?
    /// Where clients reach the guest.
    package var address: String?
    /// The name of the host that the image came from, or the last one did.
    package var primaryHost: String?
    /// RFC 3339, UTC; for people.
    package var updatedAt: String

    package init(
        guest: String,
        uuid: String,
        generation: UInt64,
        state: State,
        activatedFrom: UInt64? = nil,
        id: String? = nil,
        address: String? = nil,
        updatedAt: String = Timestamp.now
    ) {
        schema = Self.currentSchema
        self.guest = guest
        self.uuid = uuid
        self.generation = generation
        self.state = state
        self.activatedFrom = activatedFrom
        self.id = id
        self.address = address
        self.updatedAt = updatedAt
    }

    package enum CodingKeys: String, CodingKey {
        case schema, guest, uuid, generation, state
        case activatedFrom = "activated_from"
        case id, arbiter, address
        case primaryHost = "primary_host"
        case updatedAt = "updated_at"
    }
}
