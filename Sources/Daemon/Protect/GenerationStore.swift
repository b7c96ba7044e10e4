import Checkpoint
import SystemSupport

/// The primary's durable generation of one guest.
struct GenerationStore: Sendable {
    private let guest: String
    private let uuid: String
    private let peer: String
    private let record: String
    private let standbyRecord: String

    init(_ name: GuestName, uuid: GuestUUID, peer: SocketAddress, paths: Paths) {
        guest = name.text
        self.uuid = uuid.description
        self.peer = peer.description
        record = paths.primaryRecord(name)
        standbyRecord = paths.standbyRecord(name)
    }

    /// Rises with each protect: one more than what this host knows, as the guest's primary or, for a guest that was
    /// activated here, as its standby; 1 for a guest never seen.
    func begin() throws -> UInt64 {
        let primary = try PrimaryRecord.load(from: record).flatMap { $0.uuid == uuid ? $0.generation : nil }
        let standby = try StandbyRecord.load(from: standbyRecord).flatMap {
            $0.uuid == uuid ? $0.generation : nil
        }
        let next = max(primary ?? 0, standby ?? 0) + 1
        try store(next)
        return next
    }

    /// Writes a generation down.
    func store(_ generation: UInt64) throws {
        try PrimaryRecord(guest: guest, uuid: uuid, generation: generation, session: nil, peer: peer)
            .store(at: record)
    }
}
