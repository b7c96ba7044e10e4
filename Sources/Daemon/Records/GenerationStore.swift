import Checkpoint
import Synchronization
import SystemSupport

/// What a protection begins with.
package struct PrimaryStart: Equatable, Sendable {
    /// Durable already.
    package var generation: UInt64
    /// The standby whose image output is held for, if that is another one than ours.
    package var otherStandby: String?
    /// The longest alone-after that an image may trust; nil if there is no image to trust any.
    package var recordedAloneAfter: TimeSpan?
}

/// The durable record of one guest that is protected from this host: its generation, the standby that output is held
/// for, and the longest alone-after that an image there may trust.
///
/// At every instant the record is safe to begin anew with: what it says is written before it comes true where it
/// restrains, and after where it permits.
package final class GenerationStore: Sendable {
    private let primaryPath: String
    private let standbyPath: String
    private let guest: String
    private let uuid: String
    private let peer: String
    private let aloneAfter: TimeSpan
    /// The alone-after that the next write records.
    private let longest: Mutex<TimeSpan>
    private let generation = Mutex(UInt64(0))

    /// The record of `guest`, which is to be protected at `peer` and with `aloneAfter`.
    package init(
        _ paths: Paths,
        _ name: GuestName,
        _ guest: GuestDescription,
        peer: SocketAddress,
        aloneAfter: TimeSpan
    ) {
        primaryPath = paths.primaryRecord(name)
        standbyPath = paths.standbyRecord(name)
        self.guest = guest.name
        uuid = guest.uuid.description
        self.peer = peer.description
        self.aloneAfter = aloneAfter
        longest = Mutex(aloneAfter)
    }

    /// Rises with each protect: one more than the highest that this host knows, also as a standby, since a guest that
    /// was activated here has the generation of that.
    /// - Parameter plugWasClosed: output is held for an image that a predecessor made. Then the record goes on naming
    ///   that image's standby, and the longer alone-after.
    package func begin(plugWasClosed: Bool) throws -> PrimaryStart {
        let primary = try PrimaryRecord.load(from: primaryPath)
        let standby = try StandbyRecord.load(from: standbyPath)
        let known = [primary.map { ($0.uuid, $0.generation) }, standby.map { ($0.uuid, $0.generation) }]
        let highest = known.compactMap { $0 }.filter { $0.0 == uuid }.map(\.1).max() ?? 0
        var start = PrimaryStart(generation: highest + 1)
        if plugWasClosed {
            let own = primary.flatMap { $0.uuid == uuid ? $0 : nil }
            // An older remusd did not write it down: the default is what it most likely ran with.
            let recorded = own?.aloneAfter ?? ProtectSettings().aloneAfter
            start.otherStandby = own?.peer.flatMap { $0 == peer ? nil : $0 }
            start.recordedAloneAfter = max(recorded, aloneAfter)
            longest.withLock { $0 = max(recorded, aloneAfter) }
        }
        try write(start.generation, peer: start.otherStandby ?? peer)
        return start
    }

    /// Writes a generation down durably. Over a plug that was closed for another standby this is the permission to go
    /// alone, so from here on the record names ours.
    package func store(_ generation: UInt64) throws { try write(generation, peer: peer) }

    /// No image is left that trusts a longer alone-after than ours.
    package func storeAloneAfter() throws {
        longest.withLock { $0 = aloneAfter }
        try write(generation.withLock { $0 }, peer: peer)
    }

    private func write(_ generation: UInt64, peer: String) throws {
        var record = PrimaryRecord(guest: guest, uuid: uuid, generation: generation, session: nil, peer: peer)
        record.aloneAfter = longest.withLock { $0 }
        try record.store(at: primaryPath)
        self.generation.withLock { $0 = generation }
    }
}
