import Checkpoint
import Synchronization
import SystemSupport

/// The durable record of one guest that is protected from this host: its generation, the standby that output is held
/// for, the longest alone-after that an image there may trust, and whether this copy is outdated.
package final class GenerationStore: Sendable {
    private let primaryPath: String
    private let standbyPath: String
    private let guest: String
    private let uuid: String
    private let peer: String
    private let aloneAfter: TimeSpan
    private let link: LinkMode?
    /// How an earlier protection reached its standby.
    private let earlierLink = Mutex(LinkMode?.none)
    /// What the host of our standby is called, and of an earlier protection's.
    private let hosts = Mutex((own: String?.none, earlier: String?.none))
    /// What the next write records.
    private let kept: Mutex<PrimaryFacts>

    /// The record of `guest`, which is to be protected at `peer` and with `aloneAfter`.
    package init(
        _ paths: Paths,
        _ name: GuestName,
        _ guest: GuestDescription,
        peer: SocketAddress,
        aloneAfter: TimeSpan,
        link: LinkMode? = nil
    ) {
        primaryPath = paths.primaryRecord(name)
        standbyPath = paths.standbyRecord(name)
        self.guest = guest.name
        uuid = guest.uuid.description
        self.peer = peer.description
        self.aloneAfter = aloneAfter
        self.link = link
        kept = Mutex(PrimaryFacts(standby: self.peer, aloneAfter: aloneAfter))
    }

    /// Begins a protection (`PrimaryFacts.beginning`), durably.
    /// - Parameter plugWasClosed: output is held for an image that a predecessor made.
    package func begin(plugWasClosed: Bool) throws -> PrimaryStart {
        let primary = try PrimaryRecord.load(from: primaryPath)
        let standby = try StandbyRecord.load(from: standbyPath)
        earlierLink.withLock { $0 = primary?.link }
        hosts.withLock { $0 = (primary?.peer == peer ? primary?.standbyHost : nil, primary?.standbyHost) }
        let (facts, start) = PrimaryFacts.beginning(
            after: primary.flatMap { $0.uuid == uuid ? PrimaryFacts($0) : nil },
            standbyGeneration: standby.flatMap { $0.uuid == uuid ? $0.generation : nil },
            plugWasClosed: plugWasClosed,
            standby: peer,
            aloneAfter: aloneAfter
        )
        try write { $0 = facts }
        return start
    }

    /// Writes a generation down durably.
    package func store(_ generation: UInt64) throws { try write { $0.raise(to: generation, standby: peer) } }

    /// No image is left that trusts a longer alone-after than ours.
    package func storeAloneAfter() throws { try write { $0.shorten(to: aloneAfter, standby: peer) } }

    /// This copy may not run any more: a standby runs `generation`. Stays until the guest's output passes freely again.
    package func storeOutdated(by generation: UInt64) throws { try write { $0.outdatedBy = generation } }

    /// Writes down, once, what the standby's host is called: only its claim counts when the guest is to be started anew.
    package func note(standbyHost host: String) throws {
        guard hosts.withLock({ exchange(&$0.own, with: host) }) != host else { return }
        try write { _ in }
    }

    /// What is true stays changed where the write fails: the next one makes up for it.
    private func write(_ change: (inout PrimaryFacts) -> Void) throws {
        try kept.withLock { kept in
            change(&kept)
            var record = PrimaryRecord(
                guest: guest,
                uuid: uuid,
                generation: kept.generation,
                session: nil,
                peer: kept.standby
            )
            record.aloneAfter = kept.aloneAfter
            record.outdatedBy = kept.outdatedBy
            record.link = kept.standby == peer ? link : earlierLink.withLock { $0 }
            record.standbyHost = hosts.withLock { kept.standby == peer ? $0.own : $0.earlier }
            try record.store(at: primaryPath)
        }
    }
}

extension PrimaryFacts {
    /// An older remusd did not write its alone-after down: the default is what it most likely ran with.
    init(_ record: PrimaryRecord) {
        self.init(
            generation: record.generation,
            standby: record.peer,
            aloneAfter: record.aloneAfter ?? ProtectSettings().aloneAfter,
            outdatedBy: record.outdatedBy
        )
    }
}
