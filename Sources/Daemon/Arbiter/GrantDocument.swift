import Checkpoint

/// A record as an arbiter's storage holds it: one small JSON object. What is there and cannot be read is an error, never
/// "nothing": whoever took it for nothing would grant twice.
package struct GrantDocument: Codable, Equatable, Sendable {
    package static let schema = "remusd.grant/1"
    /// Bytes that a record may have.
    static let limit = 4096

    private let schema: String
    private let guest: String
    private let generation: UInt64
    private let owner: String
    private let id: String

    package init(_ record: GrantRecord, of guest: GuestUUID) {
        schema = Self.schema
        self.guest = guest.description
        generation = record.generation
        owner = record.owner
        id = HexID.text(record.id)
    }

    /// The bytes that are kept.
    package static func encode(
        _ record: GrantRecord,
        of guest: GuestUUID
    ) throws(ArbiterError) -> [UInt8] {
        guard isOwner(record.owner), record.generation > 0 else {
            throw ArbiterError("a record needs the host's name (1 to 255 bytes) and a generation above 0")
        }
        do {
            return try ControlJSON.encode(GrantDocument(record, of: guest))
        } catch {
            throw ArbiterError("the record cannot be written as JSON: \(error)")
        }
    }

    /// The record of `guest` in `bytes`.
    /// - Parameter place: where they lie, for the error.
    package static func decode(
        _ bytes: [UInt8],
        of guest: GuestUUID,
        in place: String
    ) throws(ArbiterError) -> GrantRecord {
        func broken(_ reason: String) -> ArbiterError {
            ArbiterError(
                "\(place) holds a record that cannot be used: \(reason). Bring it back from a backup; do not remove it "
                    + "while any copy of the guest may run"
            )
        }
        guard bytes.count <= limit else { throw broken("it has \(bytes.count) bytes") }
        let document: GrantDocument
        do {
            document = try ControlJSON.decode(Self.self, from: bytes)
        } catch {
            throw broken(bytes.isEmpty ? "it is empty" : error.shortDescription)
        }
        guard document.schema == schema else {
            throw broken("its schema is '\(document.schema)', not \(schema)")
        }
        guard GuestUUID(document.guest) == guest else { throw broken("it is the guest \(document.guest)'s") }
        guard document.generation > 0 else { throw broken("its generation is 0") }
        guard isOwner(document.owner) else { throw broken("its owner is no host's name") }
        guard let id = HexID.parse(document.id) else { throw broken("its id is '\(document.id)'") }
        return GrantRecord(generation: document.generation, owner: document.owner, id: id)
    }

    private static func isOwner(_ text: String) -> Bool { (1...255).contains(text.utf8.count) }
}
