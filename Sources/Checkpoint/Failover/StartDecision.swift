/// Whether a host may start a guest anew, from its configuration: after its own boot above all (docs/operations.md, "After
/// a power cut"). Starting is a new history: what an image holds is given up by it.
package enum StartDecision: Equatable, Sendable {
    /// It may; `generation` has to be durable first.
    case start(generation: UInt64)
    /// It ran on the other host last, which has this generation.
    case activeElsewhere(generation: UInt64)
    /// Both hosts ran it at this generation.
    case splitBrain(generation: UInt64)
    /// It did not run here last, as this host's own records say.
    case notHere
    /// This host keeps an image that can be activated.
    case imageHere
    /// The other host keeps an image that can be activated, of this generation: clients lose less by that.
    case imageThere(generation: UInt64)
    /// The other host says nothing, and nobody vouches that it is off.
    case peerSilent
    /// The other host was not heard, and that is not its silence: this one could not ask it, or need not believe the answer.
    /// `passes`: the same question may be answered later.
    case peerNotAsked(passes: Bool)
    /// Its image may be trusted for so much longer.
    case tooSoon(TimeSpan)
}

/// What is known when a guest is to be started anew.
package struct StartQuestion: Equatable, Sendable {
    /// What this host's records say.
    package var own: HostClaim
    /// What the other host answered; nil if nothing, or nothing that has to be believed.
    package var peer: HostClaim?
    /// Why `peer` is nil, where that is not the other host's silence: whether it passes.
    package var notAskedPasses: Bool?
    /// Somebody vouches that the other host is off, or cut off.
    package var fenced: Bool
    /// An image at the other host is to be given up.
    package var abandonsImage: Bool
    /// How long this host has been up: for so long it has echoed no heartbeat.
    package var upSince: TimeSpan
    /// The longest alone-after that an image at the other host may trust.
    package var aloneAfter: TimeSpan

    package init(
        own: HostClaim,
        peer: HostClaim?,
        notAskedPasses: Bool? = nil,
        fenced: Bool = false,
        abandonsImage: Bool = false,
        upSince: TimeSpan,
        aloneAfter: TimeSpan
    ) {
        self.own = own
        self.peer = peer
        self.notAskedPasses = notAskedPasses
        self.fenced = fenced
        self.abandonsImage = abandonsImage
        self.upSince = upSince
        self.aloneAfter = aloneAfter
    }

    /// Decides; changes nothing. In doubt the guest is not started.
    package var decision: StartDecision {
        if own.holding == .image { return .imageHere }
        guard let peer else {
            guard fenced else {
                if own.runs == nil { return .notHere }
                return notAskedPasses.map { .peerNotAsked(passes: $0) } ?? .peerSilent
            }
            // It may come back with its image: by then that must not look like the newest there can be.
            return whenImageIsDistrusted(next(own.highest))
        }
        guard let mine = own.runs else {
            return peer.runs.map { .activeElsewhere(generation: $0) } ?? .notHere
        }
        if let theirs = peer.runs, theirs >= mine {
            return theirs == mine ? .splitBrain(generation: mine) : .activeElsewhere(generation: theirs)
        }
        let start = next(max(own.highest, peer.highest))
        guard peer.holding == .image, peer.standby >= mine else { return start }
        return abandonsImage ? whenImageIsDistrusted(start) : .imageThere(generation: peer.standby)
    }

    private func next(_ generation: UInt64) -> StartDecision { .start(generation: generation + 1) }

    /// As for going alone (design, "A failure"): until then the standby takes its image for the newest there is.
    private func whenImageIsDistrusted(_ start: StartDecision) -> StartDecision {
        upSince >= aloneAfter
            ? start : .tooSoon(TimeSpan(nanoseconds: aloneAfter.nanoseconds - upSince.nanoseconds))
    }
}
