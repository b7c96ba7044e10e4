import Checkpoint
import Synchronization
import SystemSupport

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
}

/// The durable record of one guest that is protected from this host: its generation, the standby that output is held
/// for, the longest alone-after that an image there may trust, and whether this copy is outdated.
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
    private let kept: Mutex<Kept>

    /// What the next write records.
    private struct Kept {
        var generation: UInt64 = 0
        var peer: String?
        var aloneAfter: TimeSpan
        var outdatedBy: UInt64?
    }

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
        kept = Mutex(Kept(peer: self.peer, aloneAfter: aloneAfter))
    }

    /// Rises with each protect: one more than the highest that this host knows, also as a standby, since a guest that
    /// was activated here has the generation of that.
    /// - Parameter plugWasClosed: output is held for an image that a predecessor made. Then the record goes on naming
    ///   that image's standby (none where a record was lost and nobody knows it), the longer alone-after, and what
    ///   outdated this copy. Output that passes freely is held for nobody.
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
            start.imageElsewhere = own?.peer != peer
            start.otherStandby = own?.peer.flatMap { $0 == peer ? nil : $0 }
            start.recordedAloneAfter = max(recorded, aloneAfter)
            start.outdatedBy = own?.outdatedBy
        }
        let begun = start
        try write {
            $0.generation = begun.generation
            $0.peer = begun.imageElsewhere ? begun.otherStandby : peer
            $0.aloneAfter = begun.recordedAloneAfter ?? aloneAfter
            $0.outdatedBy = begun.outdatedBy
        }
        return start
    }

    /// Writes a generation down durably. Over a plug that was closed for another standby this is the permission to go
    /// alone, so from here on the record names ours.
    package func store(_ generation: UInt64) throws {
        try write {
            $0.generation = generation
            $0.peer = peer
        }
    }

    /// No image is left that trusts a longer alone-after than ours.
    package func storeAloneAfter() throws {
        try write {
            $0.aloneAfter = aloneAfter
            $0.peer = peer
        }
    }

    /// This copy may not run any more: a standby runs `generation`. Stays until the guest's output passes freely again.
    package func storeOutdated(by generation: UInt64) throws { try write { $0.outdatedBy = generation } }

    /// What is true stays changed where the write fails: the next one makes up for it.
    private func write(_ change: (inout Kept) -> Void) throws {
        try kept.withLock { kept in
            change(&kept)
            var record = PrimaryRecord(
                guest: guest,
                uuid: uuid,
                generation: kept.generation,
                session: nil,
                peer: kept.peer
            )
            record.aloneAfter = kept.aloneAfter
            record.outdatedBy = kept.outdatedBy
            try record.store(at: primaryPath)
        }
    }
}
