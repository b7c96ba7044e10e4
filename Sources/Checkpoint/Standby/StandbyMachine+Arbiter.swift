/// What a standby knows of its arbiter, what it asks, and when it does so by itself.
extension StandbyMachine {
    /// The facts of a session with `hello`, whose generation was granted to the primary. An unanswered wish of ours that was
    /// swapped from that generation stays: it may have been granted.
    func remembering(_ hello: Hello, _ state: StandbyFacts.State) -> StandbyFacts {
        var memory = hello.arbiter.map {
            ArbiterFacts(name: $0, granted: hello.generation, usedBefore: true)
        }
        if let known = facts.arbiter, known.name == memory?.name, known.granted == memory?.granted {
            memory = known
        }
        return StandbyFacts(state: state, generation: hello.generation, arbiter: memory)
    }

    /// The generation that the image may be activated from: its own, or a later session's that said it is still valid.
    private func validGeneration(of image: ImageFacts) -> UInt64 { max(facts.generation, image.generation) }

    /// What to ask for, and the facts to write down before it is asked for.
    /// - Parameter id: a random number, used unless an older wish for the same is unanswered.
    package func wishing(for guest: GuestUUID, id: UInt64) -> (facts: StandbyFacts, request: GrantRequest)? {
        guard let name = arbiter?.name, let image else { return nil }
        let from = validGeneration(of: image)
        var memory = facts.arbiter ?? ArbiterFacts(name: name)
        if memory.name != name || memory.granted != from || memory.wish?.generation != from + 1 {
            memory = ArbiterFacts(name: name, granted: from)
        }
        // The primary's generation came from there.
        memory.usedBefore = true
        let request = memory.wish(for: guest, from + 1, owner: host, id: id)
        var next = facts
        next.arbiter = memory
        return (next, request)
    }

    // MARK: By itself

    /// Whether ticks matter now.
    package var wantsTime: Bool { live != nil || activateAt != nil }

    /// A primary that was not silent has come to an end, or its connection has: it is given time to come back.
    func patience(of hello: Hello) -> TimeSpan {
        max(suspectAfter, ProtectSettings.suspectAfter(hello.aloneAfter), hello.aloneAfter.percent(50))
    }

    /// It speaks, whatever it is answered.
    mutating func postponeActivation(_ now: Instant) {
        guard let at = activateAt, let image else { return }
        activateAt = max(at, now + image.aloneAfter.percent(50))
    }

    /// Only what was lost in this daemon's time, without a word, is activated without one.
    mutating func passAutomaticActivation(_ now: Instant, _ effects: inout EffectBuffer<StandbyEffect>) {
        guard activatesByItself, let at = activateAt, now >= at else { return }
        activateAt = nil
        // A grant is permanent: a start that failed is tried again.
        guard arbiter?.decides == true, facts.state == .image || facts.state == .active, !runsHere, !isAsking,
            let image, !image.unacknowledged, !image.hasUnreplicatedDisk
        else { return }
        effects.append(.activate)
    }
}
