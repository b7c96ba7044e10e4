import Checkpoint
import SystemSupport

/// Starts a guest anew that remusd knows: only where it ran last, and only as a history that no other copy carries on.
package struct GuestStart: Sendable {
    /// What the caller says.
    package struct Order: Sendable {
        /// Where the other host's standby listens; nil takes the address of the record.
        package var peer: SocketAddress?
        /// How to ask it; nil does as the last protection did, or as goes by the address.
        package var link: LinkMode?
        /// The other host, which the caller made sure is off or cut off.
        package var confirmFenced: String?
        package var abandonsImage = false
        /// The guest's arbiter, where its name on record does not say how to speak to it.
        package var arbiter: ArbiterSpec?

        package init() {}

        /// What the caller vouches for, or gives up; nil for one that does neither.
        var word: AuditEntry.Word? {
            guard confirmFenced != nil || abandonsImage else { return nil }
            var word = AuditEntry.Word()
            word.confirmFenced = confirmFenced
            if abandonsImage { word.abandonImage = true }
            return word
        }
    }

    /// A decision, and why: one sentence for people.
    package struct Answer: Sendable {
        package var decision: StartDecision
        package var text: String
    }

    package let name: GuestName
    let paths: Paths
    let primary: PrimaryRecord?
    let standby: StandbyRecord?

    /// - Returns: nil for a guest that remusd does not know: whoever starts it need ask nobody.
    /// - Throws: `RecordError` for a record that cannot be read.
    package init?(_ name: GuestName, _ paths: Paths) throws(RecordError) {
        primary = try PrimaryRecord.load(from: paths.primaryRecord(name))
        standby = try StandbyRecord.load(from: paths.standbyRecord(name))
        guard primary != nil || standby != nil else { return nil }
        self.name = name
        self.paths = paths
    }

    var uuid: String { primary?.uuid ?? standby?.uuid ?? "" }
    private var aloneAfter: TimeSpan { primary?.aloneAfter ?? ProtectSettings().aloneAfter }

    /// The other host's name, as the newer of the two records has it; nil if none does.
    private var otherHost: String? {
        let standby = standby.flatMap { $0.uuid == uuid ? $0 : nil }
        let names = [primary?.standbyHost, standby?.primaryHost]
        let isPrimaryNewer = (primary?.generation ?? 0) > (standby?.generation ?? 0)
        return (isPrimaryNewer ? names : names.reversed()).compactMap { $0 }.first
    }

    /// What the other host may be called.
    private func namesOfPeer(_ order: Order) -> [String] {
        let address = order.peer?.description ?? primary?.peer
        let host = address.flatMap { SocketAddress($0)?.host }
        return [address, host, otherHost].compactMap { $0 }
    }

    /// Asks whoever has to be asked, and decides. Changes nothing.
    package func decide(_ order: Order) throws -> Answer {
        var own = HostClaim(primary, standby, uuid: uuid)
        if holdsImage { own.holding = .image }
        let peer = order.peer ?? primary?.peer.flatMap { SocketAddress($0) }
        var claim: HostClaim?
        var reason = "its address is not on record: name it with --peer ADDR:PORT"
        var failure = PeerInquiry.Failure.other(passes: false)
        if let peer, let uuid = GuestUUID(uuid) {
            do {
                let recorded = primary?.peer == peer.description ? primary?.link : nil
                let link = order.link ?? recorded ?? LinkMode(for: peer)
                let security = try link.security(paths, guest: name.text)
                let inquiry = Inquiry(name: name.text, uuid: uuid)
                do {
                    claim = try PeerInquiry.ask(inquiry, at: peer, security: security, host: otherHost)
                } catch {
                    failure = PeerInquiry.failure(error)
                    throw error
                }
            } catch {
                reason = "\(error)"
            }
        }
        let names = namesOfPeer(order)
        if let fenced = order.confirmFenced, !names.isEmpty, !names.contains(fenced) {
            throw StartError(
                "the other host is \(names.joined(separator: " or ")), --confirm-fenced names \(fenced)"
            )
        }
        let question = StartQuestion(
            own: own,
            peer: claim,
            notAskedPasses: failure.passes,
            fenced: order.confirmFenced != nil,
            abandonsImage: order.abandonsImage,
            upSince: TimeSpan(nanoseconds: Clock.boot),
            aloneAfter: aloneAfter
        )
        return Answer(
            decision: question.decision,
            text: text(question.decision, reason, names.last ?? "HOST")
        )
    }

    /// Whether a standby of this host has an image; a dead one's may be with its guardian still.
    private var holdsImage: Bool {
        let statuses = (try? StatusCollector(paths: paths).collect(name).statuses) ?? []
        return statuses.contains {
            $0.role == .standby && $0.state != .active && ($0.epoch.committed != nil || $0.state == .dead)
        }
    }

    /// Writes down, durably, that this host may run the guest as `generation`, if that is given, and what it knows of the
    /// arbiter's record.
    func store(_ generation: UInt64?, _ arbiter: ArbiterFacts?) throws(SystemError) {
        var record =
            primary ?? PrimaryRecord(guest: name.text, uuid: uuid, generation: 0, session: nil, peer: nil)
        if let generation {
            record.generation = generation
            record.outdatedBy = nil
        }
        if let arbiter { record.arbiter = ArbiterRecord(arbiter) }
        record.updatedAt = Timestamp.now
        try record.store(at: paths.primaryRecord(name))
    }

    private func text(_ decision: StartDecision, _ reason: String, _ peer: String) -> String {
        switch decision {
        case .start(let generation): "it ran here last; it may be started anew, as generation \(generation)"
        case .activeElsewhere(let generation):
            "it ran on the other host since, at generation \(generation): start it there"
        case .splitBrain(let generation):
            "both hosts ran it at generation \(generation): decide which copy is kept, and fence the other host"
        case .notHere:
            "it did not run on this host last; if the other one is gone for good, fence it and add --confirm-fenced \(peer)"
        case .imageHere: "this host keeps an image of it: 'remusd activate \(name)' loses less"
        case .imageThere(let generation):
            "the other host keeps its image, of generation \(generation): 'remusd activate \(name)' there loses less; "
                + "to give that up, add --abandon-image"
        case .peerSilent:
            "the other host may run it and does not answer (\(reason)); if it is off, fence it and add --confirm-fenced \(peer)"
        case .peerNotAsked: "the other host could not be asked whether it runs it: \(reason)"
        case .tooSoon(let span):
            "an image at the other host may be trusted for \(span.rounded) longer: try again then"
        }
    }
}

/// An order that contradicts what is known.
package struct StartError: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
