import Checkpoint
import SystemSupport

/// The durable generation of one guest that is protected from this host.
struct GenerationStore: Sendable {
    private let primaryPath: String
    private let standbyPath: String
    private let guest: String
    private let uuid: String
    private let peer: String

    init(_ paths: Paths, _ name: GuestName, _ guest: GuestDescription, peer: SocketAddress) {
        primaryPath = paths.primaryRecord(name)
        standbyPath = paths.standbyRecord(name)
        self.guest = guest.name
        uuid = guest.uuid.description
        self.peer = peer.description
    }

    /// Rises with each protect: one more than the highest that this host knows, also as a standby, since a guest that
    /// was activated here has the generation of that.
    func begin() throws -> UInt64 {
        let primary = try PrimaryRecord.load(from: primaryPath)
        let standby = try StandbyRecord.load(from: standbyPath)
        let known = [primary.map { ($0.uuid, $0.generation) }, standby.map { ($0.uuid, $0.generation) }]
        let highest = known.compactMap { $0 }.filter { $0.0 == uuid }.map(\.1).max() ?? 0
        try store(highest + 1)
        return highest + 1
    }

    /// Writes a generation down durably.
    func store(_ generation: UInt64) throws {
        try PrimaryRecord(guest: guest, uuid: uuid, generation: generation, session: nil, peer: peer)
            .store(at: primaryPath)
    }
}
