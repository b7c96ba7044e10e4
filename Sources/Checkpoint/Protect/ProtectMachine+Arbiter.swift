/// What is asked of the arbiter, and what its answer permits.
///
/// A wish is durable before it is asked for, and is asked for until it is answered, whatever happens meanwhile: it may
/// have been granted although no answer came. Until then output that is held stays held, unless the standby itself says
/// that it has no image. No time that passes is a permission.
extension ProtectMachine {
    package struct Asking: Equatable {
        package enum Purpose: Equatable, Sendable {
            /// The next generation, before a session begins.
            case raise
            /// To go on without the standby.
            case alone
        }

        var purpose: Purpose
        /// Nil while it is being written down.
        var request: GrantRequest?
        /// Waits until the guest is not in a pause.
        var answer: GrantAnswer?
        /// The grant is being written down.
        var isGranted = false
        var attempts: UInt64 = 0
        /// When it is asked again, after no answer.
        var retryAt: Instant?

        init(_ purpose: Purpose) { self.purpose = purpose }
    }

    /// Has the next generation granted, where an arbiter decides; one wish at a time, the older one first.
    mutating func ask(
        _ purpose: Asking.Purpose,
        for wanted: UInt64,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard asking == nil else {
            asking?.purpose = purpose
            return
        }
        asking = Asking(purpose)
        effects.append(.storeWish(generation: wanted))
    }

    /// A higher generation before the next hello, granted where an arbiter decides.
    mutating func raise(to wanted: UInt64, _ effects: inout EffectBuffer<ProtectEffect>) {
        raisingGeneration = true
        if settings.arbitration.decides {
            ask(.raise, for: wanted, &effects)
        } else {
            effects.append(.storeGeneration(wanted))
        }
    }

    mutating func wishStored(_ request: GrantRequest, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard let asking, asking.request == nil else { return }
        self.asking?.request = request
        put(request, &effects)
    }

    private mutating func put(_ request: GrantRequest, _ effects: inout EffectBuffer<ProtectEffect>) {
        // A standby that is there has not been given the guest.
        if link != .up { noteOvertaking(&effects) }
        effects.append(.askArbiter(request))
    }

    mutating func arbiterAnswered(_ answer: GrantAnswer) {
        guard let asking, asking.request != nil, !asking.isGranted, asking.retryAt == nil else { return }
        self.asking?.answer = answer
    }

    /// Acts on an answer, or asks again; never within a pause.
    mutating func passArbiterTime(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard let asking, let request = asking.request, !inPause else { return }
        if let answer = asking.answer {
            self.asking?.answer = nil
            settle(answer, asking.purpose, now, &effects)
        } else if let retryAt = asking.retryAt, now >= retryAt {
            self.asking?.retryAt = nil
            put(request, &effects)
        }
    }

    private mutating func settle(
        _ answer: GrantAnswer,
        _ purpose: Asking.Purpose,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        switch answer {
        case .granted(let record):
            arbiterTrouble = nil
            asking?.isGranted = true
            if purpose == .alone { authority = .storingAlone }
            effects.append(.storeGrant(record))
        case .denied(let record):
            arbiterTrouble = nil
            asking = nil
            effects.append(.report(.arbiterDenied(record)))
            denied(by: record, now, &effects)
        case .unavailable(let reason):
            unanswered(reason, now, &effects)
        case .memoryLost(let found):
            unanswered(GrantAnswer.memoryLostText(found: found), now, &effects)
        }
    }

    /// Somebody else was granted the guest.
    private mutating func denied(
        by record: GrantRecord,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        let refusal = Refusal(reason: .active, generation: record.generation, text: record.grantText)
        if authority == .alone {
            // By somebody's word: both histories may have been seen.
            split(by: refusal, now, &effects)
        } else if plugClosed {
            becomeOutdated(refusal, now, &effects)
        } else {
            // Nothing is held, so this copy has been seen. Whoever it is granted to has not begun on our account.
            finish(.denied(record), &effects)
        }
    }

    private mutating func unanswered(
        _ reason: String,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        if arbiterTrouble != reason { effects.append(.report(.arbiterUnanswered(reason))) }
        arbiterTrouble = reason
        if asking?.purpose == .raise, !plugClosed, !wasWelcomed, authority == .normal {
            // Nothing is held yet, and nothing was begun.
            return finish(.noGrant(reason), &effects)
        }
        let attempts = asking?.attempts ?? 0
        asking?.attempts = attempts + 1
        asking?.retryAt = now + .milliseconds(min(500 << min(attempts, 4), 5000))
    }

    /// A grant is ours from the moment it is heard of.
    var isGrantBeingStored: Bool { asking?.isGranted == true }

    /// The generation that was granted is durable.
    /// - Returns: true if it is the permission to go on alone.
    mutating func grantStored(_ now: Instant) -> Bool {
        let isAlone = asking?.purpose == .alone
        asking = nil
        if !isAlone, authority == .storingAlone { authority = .normal }
        mayBeOvertaken = false
        // The standby has its time from here on.
        lastHeard = now
        return isAlone
    }

    // MARK: A person's word

    /// Whether the guest waits for somebody's word, or a grant, and nobody else could give it back.
    package var mayContinue: Bool {
        authority == .normal && !isGrantBeingStored && link != .up && (plugClosed || ending != nil)
            && ending?.reason != .crashed
    }

    /// Somebody vouches that the standby is off, or cut off, and will not be activated. Where an arbiter decides, the word
    /// stands in for an answer that does not come: it may have granted the guest to the standby before.
    mutating func passContinuation(_ effects: inout EffectBuffer<ProtectEffect>) {
        guard isContinued, !inPause else { return }
        isContinued = mayContinue
        guard isContinued else { return }
        if settings.arbitration.decides, !imageUnknown, asking?.retryAt == nil {
            if asking?.purpose != .alone { ask(.alone, for: generation + 1, &effects) }
            return
        }
        isContinued = false
        asking = nil
        raisingGeneration = false
        authority = .storingAlone
        effects.append(.storeContinuation(generation + 1))
    }

    /// After a split: which copy is kept.
    mutating func resolve(keepsThis: Bool, _ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard authority == .splitBrain, let other = splitGeneration else { return }
        if keepsThis {
            authority = .alone
            splitGeneration = nil
            effects.append(.storePrevailing(over: other))
            raise(to: max(other, generation) + 1, &effects)
        } else {
            let text = "somebody keeps the copy of generation \(other)"
            becomeOutdated(Refusal(reason: .active, generation: other, text: text), now, &effects)
        }
    }
}
