/// What an operator, or a script, vouches for with `activate`.
package struct ActivationOrder: Equatable, Sendable {
    /// The primary's host, which the caller made sure is off or cut off.
    package var confirmFenced: String?
    package var ifGeneration: UInt64?
    package var acceptRollback: Bool
    /// The caller's word stands in for the arbiter's grant; needs the generation.
    package var force: Bool

    package init(
        confirmFenced: String? = nil,
        ifGeneration: UInt64? = nil,
        acceptRollback: Bool = false,
        force: Bool = false
    ) {
        self.force = force
        self.confirmFenced = confirmFenced
        self.ifGeneration = ifGeneration
        self.acceptRollback = acceptRollback
    }
}

/// Whether an image may become the running guest (design, "A failure" and "Activation").
package enum ActivationDecision: Equatable, Sendable {
    /// It may, as this generation.
    case allowed(generation: UInt64)
    /// It may once the arbiter grants this generation (`wishing`).
    case ask(generation: UInt64)
    /// The image goes by another arbiter than this standby was started with.
    case arbiterDiffers(String)
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

extension ActivationDecision {
    /// As what the guest would start, if nothing stands in the way, or the arbiter alone.
    package var generation: UInt64? {
        switch self {
        case .allowed(let generation), .ask(let generation): generation
        default: nil
        }
    }
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
        let next = max(facts.generation, image.generation) + 1
        let allowed = ActivationDecision.allowed(generation: next)
        let lacking = lackOfWord(order, image, primaryGoneSince)
        if order.force { return force(order, image, lacking, primaryGoneSince, now) ?? allowed }
        switch governance(of: image) {
        case .another(let text): return .arbiterDiffers(text)
        case .arbiter:
            // Its grant, and the plug, fence the network; not a disk that both hosts may write to.
            if image.hasUnreplicatedDisk, facts.state != .crashed, let lacking { return lacking }
            return .ask(generation: next)
        case .person:
            // The primary goes on alone by somebody's word only, so no time makes the image an older one.
            return facts.state == .crashed ? allowed : lacking ?? allowed
        case .nobody: break
        }
        // The primary itself said that its guest is no more.
        if facts.state == .crashed { return allowed }
        if let lacking { return lacking }
        if image.unacknowledged { return order.acceptRollback ? allowed : .unacknowledged }
        // Up to 80 % of alone-after from the sending of the last beat it echoed, the primary cannot have gone alone.
        let certain = image.lastEchoedBeat + image.aloneAfter.percent(80)
        let until = primaryGoneSince ?? now
        if until > certain, !order.acceptRollback { return .mayBeOlder(by: until - certain) }
        return allowed
    }

    /// What is missing for somebody, or this host's own eyes, to vouch that the primary is off.
    private func lackOfWord(
        _ order: ActivationOrder,
        _ image: ImageFacts,
        _ primaryGoneSince: Instant?
    ) -> ActivationDecision? {
        if primaryGoneSince != nil, !image.unacknowledged { return nil }
        guard let host = order.confirmFenced else {
            return .fencingUnconfirmed(
                "nobody vouches that \(image.primaryHost) is off: fence it, then add --confirm-fenced \(image.primaryHost)"
            )
        }
        if host == image.primaryHost { return nil }
        return .fencingUnconfirmed("the primary is \(image.primaryHost), --confirm-fenced names \(host)")
    }

    /// Somebody's word instead of the arbiter's grant: that the primary is off, which generation is meant, and that an image
    /// older than what clients saw is acceptable, since the primary may have been granted the next one at once.
    private func force(
        _ order: ActivationOrder,
        _ image: ImageFacts,
        _ lacking: ActivationDecision?,
        _ primaryGoneSince: Instant?,
        _ now: Instant
    ) -> ActivationDecision? {
        guard order.ifGeneration != nil else {
            return .generationMismatch(
                "--force wants the image's generation: add --if-generation \(image.generation)"
            )
        }
        if facts.state == .crashed { return nil }
        if let lacking { return lacking }
        return order.acceptRollback ? nil : .mayBeOlder(by: (primaryGoneSince ?? now) - image.lastEchoedBeat)
    }

    /// Who decides about an image.
    private enum Governance {
        case nobody, person, arbiter
        case another(String)
    }

    private func governance(of image: ImageFacts) -> Governance {
        if image.unacknowledged { return .nobody }
        if let its = facts.arbiter, its.name != arbiter?.name {
            return .another(
                "the image goes by the arbiter \(its.name), this standby was started with \(arbiter?.name ?? "none"): start it "
                    + "with --arbiter \(its.name)"
            )
        }
        // An image whose record was lost is asked for all the same.
        if arbiter?.decides == true { return .arbiter }
        return arbiter == nil || facts.arbiter == nil ? .nobody : .person
    }

    /// The facts to write down before the guest is started as `generation`.
    /// - Parameter granted: what the arbiter granted for it, if it was asked.
    package func activated(
        as generation: UInt64,
        id: UInt64,
        granted: GrantRecord? = nil
    ) -> StandbyFacts {
        var memory = facts.arbiter
        if let granted {
            memory = memory ?? ArbiterFacts(name: arbiter?.name ?? "")
            memory?.noteGrant(granted)
        } else if facts.state != .active {
            // By somebody's word.
            memory?.noteWord()
            memory?.wish = nil
        }
        return StandbyFacts(
            state: .active,
            generation: generation,
            activationID: id,
            activatedFrom: image?.generation ?? facts.activatedFrom,
            arbiter: memory
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
