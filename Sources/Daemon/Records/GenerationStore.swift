import Checkpoint
import Synchronization
import SystemSupport

/// The durable record of one guest that is protected from this host: its generation, the standby that output is held
/// for, the longest alone-after that an image there may trust, and whether this copy is outdated.
package final class GenerationStore: Sendable {
    private let primaryPath: String
    private let standbyPath: String
    private let guest: String
    private let uuid: GuestUUID
    private let peer: String
    private let aloneAfter: TimeSpan
    private let arbiter: ArbiterChoice?
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
        arbiter: ArbiterChoice? = nil,
        link: LinkMode? = nil
    ) {
        self.arbiter = arbiter
        primaryPath = paths.primaryRecord(name)
        standbyPath = paths.standbyRecord(name)
        self.guest = guest.name
        uuid = guest.uuid
        self.peer = peer.description
        self.aloneAfter = aloneAfter
        self.link = link
        kept = Mutex(PrimaryFacts(standby: self.peer, aloneAfter: aloneAfter))
    }

    /// Begins a protection (`PrimaryFacts.beginning`), durably.
    /// - Parameters:
    ///   - plugWasClosed: output is held for an image that a predecessor made.
    ///   - vouched: the generation of the arbiter's record, whose owner somebody vouches for.
    /// - Throws: `ArbiterChanged`, `RecordError`, `SystemError`.
    package func begin(plugWasClosed: Bool, vouched: UInt64? = nil) throws -> PrimaryStart {
        let uuid = uuid.description
        let primary = try PrimaryRecord.load(from: primaryPath)
        let standby = try StandbyRecord.load(from: standbyPath)
        earlierLink.withLock { $0 = primary?.link }
        hosts.withLock { $0 = (primary?.peer == peer ? primary?.standbyHost : nil, primary?.standbyHost) }
        let (facts, start) = try PrimaryFacts.beginning(
            after: primary.flatMap { $0.uuid == uuid ? PrimaryFacts($0) : nil },
            asStandby: standby.flatMap { $0.uuid == uuid ? StandbyFacts($0) : nil },
            plugWasClosed: plugWasClosed,
            standby: peer,
            aloneAfter: aloneAfter,
            arbiter: arbiter,
            vouched: vouched
        )
        try write { $0 = facts }
        return start
    }

    /// Writes a generation down durably.
    package func store(_ generation: UInt64) throws { try write { $0.raise(to: generation, standby: peer) } }

    /// Writes down that a generation is wished for, unless one is already.
    /// - Returns: what to ask the arbiter for.
    package func wish(for generation: UInt64) throws -> GrantRequest {
        let id = UInt64.random(in: 1 ... .max)
        var request: GrantRequest?
        try write { request = $0.wish(for: uuid, generation, owner: PrimaryIdentity.hostName, id: id) }
        guard let request else { throw SystemError("ask an arbiter that is not there", code: 22) }
        return request
    }

    /// Writes down what the arbiter granted.
    package func grant(_ record: GrantRecord) throws { try write { $0.grant(record, standby: peer) } }

    /// Writes a generation down that somebody's word gave.
    package func goOn(as generation: UInt64) throws { try write { $0.goOn(as: generation, standby: peer) } }

    /// This copy is kept, not the one of `generation`: what is asked for next is asked from there.
    package func prevail(over generation: UInt64) { kept.withLock { $0.prevail(over: generation) } }

    /// No image is left that trusts a longer alone-after than ours.
    package func storeAloneAfter() throws { try write { $0.shorten(to: aloneAfter, standby: peer) } }

    /// This copy may not run any more: a standby runs `generation`. Stays until the guest's output passes freely again.
    package func storeOutdated(by generation: UInt64) throws { try write { $0.outdatedBy = generation } }

    /// Writes down, once, what the standby's host is called: only its claim counts when the guest is to be started anew.
    package func note(standbyHost host: String) throws {
        guard hosts.withLock({ exchange(&$0.own, with: host) }) != host else { return }
        try write { _ in }
    }

    /// What the standby that output is held for, or will be, may be called: its host's name first, as it said it to this process or
    /// to one before; then its address. Nothing where nobody knows it.
    package var standbyNames: [String] {
        guard let address = kept.withLock({ $0.standby }) else { return [] }
        let names = [host(of: address), SocketAddress(address)?.host, address].compactMap(\.self)
        return names.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    /// What the host of the standby at this address calls itself; nil where it has not said so.
    private func host(of standby: String?) -> String? {
        hosts.withLock { standby == peer ? $0.own : $0.earlier }
    }

    /// What is true stays changed where the write fails: the next one makes up for it.
    private func write(_ change: (inout PrimaryFacts) -> Void) throws {
        try kept.withLock { kept in
            change(&kept)
            var record = PrimaryRecord(
                guest: guest,
                uuid: uuid.description,
                generation: kept.generation,
                session: nil,
                peer: kept.standby
            )
            record.aloneAfter = kept.aloneAfter
            record.outdatedBy = kept.outdatedBy
            record.arbiter = kept.arbiter.map { ArbiterRecord($0) }
            record.link = kept.standby == peer ? link : earlierLink.withLock { $0 }
            record.standbyHost = host(of: kept.standby)
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
            outdatedBy: record.outdatedBy,
            arbiter: record.arbiter?.facts
        )
    }
}
