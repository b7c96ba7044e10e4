import Checkpoint

/// What `remusd arbiter show` prints. JSON: schema `remusd.arbiter/1`.
package struct ArbiterShowing: Encodable, Sendable {
    /// A record, as people and programs read it.
    package struct Record: Encodable, Sendable {
        let generation: UInt64
        let owner: String
        let id: String
    }

    let schema = "remusd.arbiter/1"
    let arbiter: String
    let guest: String
    /// Null: the arbiter says that it has none.
    let record: Record?

    package init(_ spec: ArbiterSpec, _ guest: GuestUUID, _ record: GrantRecord?) {
        arbiter = spec.name
        self.guest = guest.description
        self.record = record.map {
            Record(generation: $0.generation, owner: $0.owner, id: HexID.text($0.id))
        }
    }

    private enum CodingKeys: String, CodingKey { case schema, arbiter, guest, record }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(schema, forKey: .schema)
        try container.encode(arbiter, forKey: .arbiter)
        try container.encode(guest, forKey: .guest)
        // Null is said, not left out.
        try container.encode(record, forKey: .record)
    }
}

/// The UUID that a guest of this host is known by.
package enum KnownGuest {
    /// - Parameter text: a UUID, or the name of a guest of which this host has a record.
    /// - Returns: nil if no record here has that name.
    /// - Throws: `ValueError` for what is neither, `RecordError` for a record that cannot be read.
    package static func uuid(_ text: String, in paths: () throws -> Paths) throws -> GuestUUID? {
        if let uuid = GuestUUID(text) { return uuid }
        let name = try GuestName(text)
        let paths = try paths()
        let primary = try PrimaryRecord.load(from: paths.primaryRecord(name))
        let standby = try StandbyRecord.load(from: paths.standbyRecord(name))
        return (primary?.uuid ?? standby?.uuid).flatMap { GuestUUID($0) }
    }
}
