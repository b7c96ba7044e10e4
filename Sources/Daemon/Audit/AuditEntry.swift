/// A line of the audit: what somebody vouched for, and what came of it. Two lines for each decision, of the same id: the first
/// before anything of it is true, the second once it has ended.
package struct AuditEntry: Codable, Equatable, Sendable {
    package static let currentSchema = "remusd.audit/1"

    package enum Act: String, Codable, Sendable {
        case activate, `continue`, start, resolve, protect
    }

    /// What the caller said, as the command's options have it; only what was said.
    package struct Word: Codable, Equatable, Sendable {
        package var confirmFenced: String?
        package var ifGeneration: UInt64?
        package var acceptRollback: Bool?
        package var force: Bool?
        package var abandonImage: Bool?
        package var keep: String?

        package init() {}

        package enum CodingKeys: String, CodingKey {
            case confirmFenced = "confirm_fenced"
            case ifGeneration = "if_generation"
            case acceptRollback = "accept_rollback"
            case force
            case abandonImage = "abandon_image"
            case keep
        }
    }

    package private(set) var schema = AuditEntry.currentSchema
    /// Of this line: RFC 3339, UTC.
    package var time = ""
    /// What the two lines of a decision have in common: 16 hexadecimal digits.
    package var id = ""
    /// This host.
    package var host: String
    package var guest: String
    package var uuid: String
    package var act: Act
    package var said: Word
    package var who: Speaker?
    /// `taken`, and then what the command answered.
    package var outcome = ""
    package var message: String?
    package var generationBefore: UInt64?
    /// In the first line, what it is to be, where that is known.
    package var generationAfter: UInt64?

    package init(_ act: Act, _ guest: GuestName, uuid: String, said: Word, who: Speaker?) {
        host = PrimaryIdentity.hostName
        self.guest = guest.text
        self.uuid = uuid
        self.act = act
        self.said = said
        self.who = who
    }

    package enum CodingKeys: String, CodingKey {
        case schema, time, id, host, guest, uuid, act, said, who, outcome, message
        case generationBefore = "generation_before"
        case generationAfter = "generation_after"
    }
}
