import Checkpoint
import Logging
import Synchronization
import SystemSupport
import Transport

/// What the log and the operator's hooks are told of a guest's standby.
extension StandbyGuest {
    // MARK: The link

    /// Anything of the primary's that made sense is a sign of life.
    func noteContact(_ event: StandbyEvent, _ state: inout State) {
        switch event {
        case .hello: state.link.begins(at: Self.now)
        case .received(_, let id), .epochWhole(_, let id), .dataReceived(let id):
            if id == state.machine.liveConnection { state.link.heard(at: Self.now) }
        case .notListening(let id):
            if id == state.machine.liveConnection { state.link.wasBusy(until: Self.now) }
        case .violation, .failure, .connectionLost, .imageLost, .activationFailed, .tick: break
        }
    }

    func noteReport(_ report: StandbyReport, _ event: StandbyEvent, _ state: inout State) {
        switch report {
        case .sessionStarted:
            state.link.isUp()
            state.link.heard(at: Self.now)
            state.plannedEnd = nil
        case .plannedEnd(let reason): state.plannedEnd = reason
        case .sessionLost:
            if let (id, error) = state.connectionError, id == event.connection { state.link.ended(error) }
            state.connectionError = nil
            _ = state.link.lost(at: Self.now) { silence in
                switch event {
                case .tick, .received, .dataReceived, .notListening, .epochWhole: .silence(silence)
                case .violation: .violation
                // Nothing was read or written meanwhile that could have failed.
                case .connectionLost, .hello: .byPeer
                case .failure, .imageLost, .activationFailed: .byUs
                }
            }
        case .imageCommitted, .refused: break
        }
    }

    // MARK: post-*

    /// Sees whether hooks are to hear of what is true now.
    /// - Parameter epoch: the guest's, where the image is gone already.
    func tellHooks(_ state: inout State, epoch: UInt64? = nil) {
        guard let hooks else { return }
        let situation = Self.situation(state)
        if state.machine.runsHere { state.plannedEnd = nil }
        let suspect = ProtectSettings.suspectAfter(
            state.machine.image?.aloneAfter ?? ProtectSettings().aloneAfter
        )
        let event = state.tracker.note(
            situation,
            isSure: state.link.failure?.tookTime ?? false,
            suspectAfter: suspect,
            at: Self.now
        )
        guard let event else { return }
        hooks.enqueue(call(event, state, epoch: epoch))
    }

    /// What this daemon finds is nothing new, but for what an earlier one did not come to tell.
    func resumeHooks() {
        guard let hooks else { return }
        state.withLock { state in
            let situation = Self.situation(state)
            // An image without a primary may have been lost this moment, or may be about to be heard of.
            if situation != .lost { state.tracker.takeAsTold(situation) }
            hooks.takeUp()
            if situation == .active { hooks.ensure(call(.postActivate, state)) }
        }
    }

    private static func situation(_ state: State) -> HookSituation {
        let machine = state.machine
        if machine.runsHere { return state.activating ? .unsettled : .active }
        if state.plannedEnd != nil { return .ended }
        if machine.liveConnection != nil {
            return machine.isSyncing || machine.isUnacknowledged || state.image == nil
                ? .unsettled : .protected
        }
        switch machine.facts.state {
        case .active: return state.image == nil ? .ended : .unsettled
        case .crashed: return .ended
        case .image, .dropped: return state.image == nil ? .unsettled : .lost
        }
    }

    private func call(_ event: HookEvent, _ state: State, epoch: UInt64? = nil) -> HookCall {
        var call = HookCall(event, guest: name.text, uuid: state.uuid?.description ?? "")
        let machine = state.machine
        let image = state.image?.image
        call.roleOld = .standby
        call.roleNew = .standby
        call.generation = max(machine.facts.generation, image?.generation ?? 0)
        call.epoch = epoch ?? image?.epoch
        call.peer = state.primaryHost ?? image?.primaryHost ?? ""
        call.state = Self.stateName(state, Self.now)
        switch event {
        case .peerLost:
            // The image's own: what `activate --if-generation` wants.
            call.generation = image?.generation ?? machine.facts.generation
            call.linkFailure = state.link.failure
            call.lastContactAgeMs = state.link.lastContact.map { (Self.now - $0).milliseconds }
            call.reason =
                state.link.failure?.sentence(of: "the primary")
                ?? "the primary was not heard of since this standby began"
        case .preActivate, .postActivate: call.roleNew = .primary
        case .postEnded:
            call.roleNew = nil
            call.reason = state.plannedEnd?.word ?? state.imageTrouble ?? ""
        case .postProtected, .postAlone, .postOutdated, .postSplitBrain: break
        }
        if event == .peerLost || event == .postEnded {
            let decision = machine.decide(
                ActivationOrder(),
                primaryGoneSince: state.primaryWatch?.primaryGoneSince,
                at: Self.now
            )
            if decision.generation != nil { call.mayActivate = state.imageTrouble == nil }
        }
        return call
    }

    // MARK: pre-activate

    /// Asks the hooks before a grant; never after one, which is permanent.
    /// - Returns: why not; nil if nothing stands against it.
    func askHooks(_ generation: UInt64) -> (outcome: ActivateOutcome, reason: String)? {
        guard let hooks else { return nil }
        let question = state.withLock { state -> HookCall? in
            guard state.machine.facts.state != .active else { return nil }
            var question = call(.preActivate, state)
            question.generation = generation
            return question
        }
        guard let question else { return nil }
        let isOnItsWay = state.withLock { exchange(&$0.isAskingHooks, with: true) }
        guard !isOnItsWay else {
            return (.tryAgain, "an activation is on its way, and asks its pre-activate hooks")
        }
        defer { state.withLock { $0.isAskingHooks = false } }
        guard let veto = hooks.veto(of: question) else { return nil }
        log.warning("not activated: \(veto)")
        return (.vetoed, "not activated, by this host's hooks: \(veto)")
    }
}

extension PlannedEndReason {
    /// As hooks are told it.
    var word: String {
        switch self {
        case .unprotect: "unprotect"
        case .shutdown: "shutdown"
        case .reboot: "reboot"
        case .crashed: "crashed"
        case .continueAlone: "continue-alone"
        }
    }
}

/// Sees which connections stay lost for so long that it is a loss: what a lost connection's own thread is not there for
/// any more.
final class StandbyLossWatch: Sendable {
    private let stopping: EventFD?

    init(_ guests: @escaping @Sendable () -> [StandbyGuest]) {
        let stopping = try? EventFD()
        self.stopping = stopping
        guard let stopping else { return }
        let thread = try? WorkerThread("losses") {
            var round = 0
            while !Poll.wait(stopping.descriptor.raw, milliseconds: 100) {
                round += 1
                for guest in guests() where guest.hooks != nil {
                    if round % 50 == 0 { guest.noticeEndOfGuest() }
                    guest.state.withLock { guest.tellHooks(&$0) }
                }
            }
        }
        thread?.detach()
    }

    func stop() { stopping?.signal() }
}
