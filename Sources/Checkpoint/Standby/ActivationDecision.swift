/// What an operator, or a script, vouches for with `activate`.
package struct ActivationOrder: Equatable, Sendable {
    /// The primary's host, which the caller made sure is off or cut off.
    package var confirmFenced: String?
    package var ifGeneration: UInt64?
    package var acceptRollback: Bool

    package init(confirmFenced: String? = nil, ifGeneration: UInt64? = nil, acceptRollback: Bool = false) {
        self.confirmFenced = confirmFenced
        self.ifGeneration = ifGeneration
        self.acceptRollback = acceptRollback
    }
}

/// Whether an image may become the running guest (design, "A failure" and "Activation").
package enum ActivationDecision: Equatable, Sendable {
    /// It may, as this generation.
    case allowed(generation: UInt64)
    case alreadyActive
    case primaryAlive
    case noConsistentImage(String)
    case fencingUnconfirmed(String)
    case generationMismatch(String)
    /// The primary may have run alone for up to this long since the image.
    case mayBeOlder(by: TimeSpan)
    /// The primary waited for no ack: what clients saw may be newer, by whatever was on its way.
    case unacknowledged
}

extension StandbyMachine {
    /// Decides; changes nothing.
    /// - Parameter primaryGoneSince: when this host itself saw the last of guest and protect processes end, if it did
    ///   and they ran on this machine.
    package func decide(
        _ order: ActivationOrder,
        primaryGoneSince: Instant?,
        at now: Instant
    ) -> ActivationDecision {
        if runsHere {
            if let wanted = order.ifGeneration, wanted != facts.activatedFrom, wanted != facts.generation {
                return .generationMismatch(
                    "the guest is active here at generation \(facts.generation), not \(wanted)"
                )
            }
            return .alreadyActive
        }
        guard let image else {
            if facts.state == .dropped, facts.generation > 0 {
                return .generationMismatch("the image was dropped at generation \(facts.generation)")
            }
            return .noConsistentImage("there is no committed image of this guest here")
        }
        if let wanted = order.ifGeneration, wanted != image.generation {
            return .generationMismatch("the image is of generation \(image.generation), not \(wanted)")
        }
        // A grant is permanent: a start that failed is tried again.
        if facts.state == .active { return .allowed(generation: facts.generation) }
        if primaryIsAlive(at: now) { return .primaryAlive }
        let allowed = ActivationDecision.allowed(generation: max(facts.generation, image.generation) + 1)
        // The primary itself said that its guest is no more.
        if facts.state == .crashed { return allowed }
        if primaryGoneSince == nil || image.unacknowledged {
            guard let host = order.confirmFenced else {
                return .fencingUnconfirmed(
                    "nobody vouches that \(image.primaryHost) is off: fence it, then add --confirm-fenced \(image.primaryHost)"
                )
            }
            guard host == image.primaryHost else {
                return .fencingUnconfirmed(
                    "the primary is \(image.primaryHost), --confirm-fenced names \(host)"
                )
            }
        }
        if image.unacknowledged { return order.acceptRollback ? allowed : .unacknowledged }
        // Up to 80 % of alone-after from the sending of the last beat it echoed, the primary cannot have gone alone.
        let certain = image.lastEchoedBeat + image.aloneAfter.percent(80)
        let until = primaryGoneSince ?? now
        if until > certain, !order.acceptRollback { return .mayBeOlder(by: until - certain) }
        return allowed
    }

    /// The facts to write down before the guest is started as `generation`.
    package func activated(as generation: UInt64, id: UInt64) -> StandbyFacts {
        StandbyFacts(
            state: .active,
            generation: generation,
            activationID: id,
            activatedFrom: image?.generation ?? facts.activatedFrom
        )
    }

    /// Takes over facts that were written down outside `handle`: an activation, or its end.
    package mutating func adopt(_ facts: StandbyFacts, runsHere: Bool, imageConsumed: Bool) {
        self.facts = facts
        self.runsHere = runsHere
        if imageConsumed { image = nil }
    }

    /// Takes back what the last event made this machine believe: an effect of it failed. What is true instead is what
    /// was last written down, and the image that is really there.
    package mutating func undo(durable facts: StandbyFacts, image: ImageFacts?) {
        self.facts = facts
        self.image = image
        live?.ended = false
    }
}
