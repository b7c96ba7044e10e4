import Checkpoint

/// `remusd activate`, and what a standby does by itself: decide, ask where an arbiter decides, write down, start.
extension StandbyDriver {
    enum Answer { case active, tryAgain, refused(ActivationDecision) }

    /// Activates, or begins to: where the arbiter has to be asked first, what comes of it shows later.
    func activate(_ order: ActivationOrder) -> Answer {
        noticeEnd()
        guard !machine.isAsking else { return .tryAgain }
        guard decide(order).generation != nil else { return refusal(order) }
        if let live = machine.liveConnection { lose(live) }
        guard isAlive else { return .tryAgain }
        switch decide(order) {
        case .allowed(let generation) where order.force && machine.facts.state != .active:
            return overrule(generation, order)
        case .allowed(let generation): return begin(as: generation, nil, order)
        case .ask(let generation)
        where world.misdeed == .activationUnasked
            || world.misdeed == .restartedStandbyActivates && isStarting:
            return begin(as: generation, nil, order)
        case .ask: return ask(order)
        default: return refusal(order)
        }
    }

    /// Nothing came of what it did by itself: it tries again later, unless it was told not to.
    func awaitAnswer() {
        if isAlive, !machine.isAsking, !machine.runsHere { handle(.activationFailed(again: true)) }
    }

    // MARK: The arbiter

    private func ask(_ order: ActivationOrder) -> Answer {
        guard let (facts, request) = machine.wishing(for: world.guest.uuid, id: world.random(1...1 << 60))
        else { return .tryAgain }
        world.coverage.standby(machine, .activateAsks, at: now)
        step()
        guard isAlive, store(facts, wishing: true), isAlive else { return .tryAgain }
        machine.adopt(facts, runsHere: false, imageConsumed: false)
        machine.isAsking = true
        world.arbiter.ask(request, by: self) { [self] answer in
            machine.isAsking = false
            lastAnswer = answer
            world.coverage.standby(machine, StandbyOccasion(answer), at: now)
            switch answer {
            case .granted(let record):
                if case .tryAgain = begin(as: record.generation, record, order) { awaitAnswer() }
            case .denied: handle(.activationFailed(again: false))
            case .memoryLost, .unavailable: handle(.activationFailed(again: true))
            }
        }
        return .tryAgain
    }

    /// By somebody's word; the arbiter is told, if it can be.
    private func overrule(_ generation: UInt64, _ order: ActivationOrder) -> Answer {
        world.coverage.standby(machine, .activateForced, at: now)
        machine.isAsking = true
        let (id, owner) = (world.random(1...1 << 60), host.name)
        let wanted = { (found: GrantRecord?) in
            GrantRecord(generation: max(generation, (found?.generation ?? 0) + 1), owner: owner, id: id)
        }
        world.arbiter.overrule(with: wanted, by: self) { [self] record in
            machine.isAsking = false
            guard case .allowed = decide(order) else { return }
            _ = begin(as: record?.generation ?? generation, record, order)
        }
        return .tryAgain
    }

    // MARK: The start

    /// Writes down and starts.
    private func begin(as generation: UInt64, _ granted: GrantRecord?, _ order: ActivationOrder) -> Answer {
        guard let image, !machine.runsHere else { return .tryAgain }
        if let live = machine.liveConnection { lose(live) }
        guard isAlive else { return .tryAgain }
        world.coverage.standby(machine, .activateAllowed, at: now)
        let known = machine.facts
        let id = known.state == .active ? known.activationID : granted?.id ?? world.random(1...1 << 60)
        let facts = machine.activated(as: generation, id: id, granted: granted)
        if order.acceptRollback, image.knows < world.client.seen { image.rollbackAccepted = true }
        step()
        let isWritten = world.misdeed == .activationWithoutGrant || (isAlive && store(facts))
        guard isAlive, isWritten else { return .tryAgain }
        machine.adopt(facts, runsHere: true, imageConsumed: false)
        for _ in 1...3 {
            step()
            guard isAlive else { return .tryAgain }
            // What stands in the way of the start does so again.
            guard !host.startFails, host.copy == nil else { continue }
            image.startAttempted = true
            world.start(image, on: host, as: facts)
            step()
            guard isAlive else { return .tryAgain }
            machine.adopt(facts, runsHere: true, imageConsumed: true)
            self.image = nil
            _ = store(facts)
            if isAlive { host.kept = nil }
            return .active
        }
        machine.adopt(facts, runsHere: false, imageConsumed: false)
        return .tryAgain
    }

    private func decide(_ order: ActivationOrder) -> ActivationDecision {
        let decision = machine.decide(order, primaryGoneSince: nil, at: now)
        if world.misdeed == .staleImage, case .mayBeOlder = decision {
            return .allowed(generation: max(machine.facts.generation, image?.facts.generation ?? 0) + 1)
        }
        return decision
    }

    private func refusal(_ order: ActivationOrder) -> Answer {
        guard isAlive else { return .tryAgain }
        world.coverage.standby(machine, .activateRefused, at: now)
        return .refused(decide(order))
    }

    /// An activated guest that has ended since runs here no more.
    func noticeEnd() {
        if machine.runsHere, host.copy == nil || host.copy?.end != nil { machine.runsHere = false }
    }
}
