import Checkpoint
import SystemSupport

/// What the log and the operator's hooks are told of a protection.
extension ProtectEngine {
    func report(_ report: ProtectReport) {
        switch report {
        case .linkUp: link.isUp()
        case .linkLost(let loss): _ = link.lost(at: now) { loss.end(silence: $0) }
        default: break
        }
        ProtectReporting.log(report, options, log, failure: link.failure, isNews: link.isNews)
    }

    /// Sees whether hooks are to hear of `status`. Costs a comparison where they are not.
    func tellHooks(_ status: ProtectStatus) {
        guard let hooks else { return }
        let situation = hookSituation(status)
        let event = tracker.note(
            situation,
            isSure: link.failure?.tookTime ?? false,
            suspectAfter: options.settings.suspectAfter,
            at: now
        )
        guard let event else { return }
        hooks.enqueue(call(event, situation, status))
    }

    private func hookSituation(_ status: ProtectStatus) -> HookSituation {
        switch status.state {
        case .protected: options.xlPeer == nil ? .protected : .unsettled
        // Until a connection has failed, nothing is lost: a restarted protect begins like this.
        case .peerLost: status.lastLoss == nil ? .unsettled : .lost
        case .alone: .alone
        case .outdated: .outdated
        case .splitBrain: .splitBrain
        case .ended: .ended
        case .starting, .connecting, .syncing, .suspendRefused, .ending: .unsettled
        }
    }

    private func call(
        _ event: HookEvent,
        _ situation: HookSituation,
        _ status: ProtectStatus
    ) -> HookCall {
        var call = HookCall(event, guest: guest.description.name, uuid: guest.description.uuid.description)
        call.roleOld = .primary
        call.roleNew = situation == .outdated || situation == .ended ? nil : .primary
        call.state = GuestState(status.state)
        call.generation = status.generation
        call.epoch = status.acked
        call.peer = options.xlPeer?.host ?? options.standby.description
        call.lastContactAgeMs = link.lastContact.map { (now - $0).milliseconds }
        call.linkFailure = link.failure
        switch situation {
        case .lost, .alone: call.reason = link.failure?.sentence(of: "the standby") ?? ""
        case .outdated, .splitBrain:
            call.reason = status.lastLoss?.text ?? ""
            // The one that runs elsewhere.
            if case .refused(let refusal)? = status.lastLoss { call.generation = refusal.generation }
        case .ended:
            call.reason = endReason.map { ProtectReporting.text($0, generation: status.generation) } ?? ""
        case .unsettled, .protected, .active: break
        }
        return call
    }
}
