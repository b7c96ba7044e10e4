import Checkpoint
import Synchronization
import SystemSupport
import Transport

extension StandbyGuest {
    /// The guest as `status` shows it.
    func status(ceiling: UInt64, used: UInt64) -> GuestStatus {
        noticeEndOfGuest()
        noticeLostImage()
        let gone = state.withLock { $0.primaryWatch }?.primaryGoneSince
        let now = Self.now
        return state.withLock { state in
            let machine = state.machine
            let decision = machine.decide(ActivationOrder(), primaryGoneSince: gone, at: now)
            var status = GuestStatus(
                guest: name.description,
                uuid: state.uuid?.description ?? "",
                role: .standby,
                state: Self.stateName(state, now),
                generation: machine.facts.generation,
                session: (machine.sessionNumber ?? state.image?.image.session).map { String($0, radix: 16) }
            )
            if let image = state.image?.image, let epoch = image.epoch {
                status.generation = max(image.generation, machine.runsHere ? machine.facts.generation : 0)
                status.epoch = .init(sent: epoch, acked: epoch, committed: epoch)
                status.imageAgeMs = (now - image.sealedAt).milliseconds
                status.lastAckAgeMs = status.imageAgeMs
                status.populatedBytes = UInt64(image.populatedPages * guestPageSize)
                status.memoryBytes = UInt64(image.layout.memorySize)
                status.peer = image.primaryHost
                status.activation = image.isWarm ? "warm" : "cold"
                status.protected = machine.primaryIsAlive(at: now) && !image.unacknowledged
            }
            if let incoming = state.incoming?.image {
                let total = UInt64(incoming.layout.pageCount)
                status.sync = .init(donePages: UInt64(incoming.populatedPages), totalPages: total)
            }
            if decision.generation != nil { status.mayActivate = state.imageTrouble == nil }
            status.arbiter = arbiter.map {
                let answer = state.lastAnswer
                return GuestStatus.Arbiter(
                    name: $0.choice.name,
                    decides: $0.choice.decides,
                    isAsking: machine.isAsking,
                    lastAnswer: answer.map { AskingFailure($0).text }
                )
            }
            status.reasons = Self.reasons(state, status.state, decision, name)
            if let outlook = state.outlook, !machine.runsHere {
                status.reasons += outlook.obstacles.map { "it could not be started here: \($0)" }
                status.startNeedsBytes = outlook.neededBytes
                status.startFreeBytes = outlook.freeBytes
                if !outlook.obstacles.isEmpty { status.mayActivate = false }
            }
            if machine.liveConnection == nil, !machine.runsHere {
                status.linkFailure = state.link.failure?.rawValue
                status.lastContactAgeMs = state.link.lastContact.map { (now - $0).milliseconds }
            }
            status.transport = machine.liveConnection.flatMap { state.connections[$0]?.transport }
            status.address = state.address.isEmpty ? nil : state.address
            status.memoryCeilingBytes = ceiling
            status.memoryUsedBytes = used
            return status
        }
    }

    static func stateName(_ state: borrowing State, _ now: Instant) -> GuestState {
        let machine = state.machine
        if state.activating { return .activating }
        if machine.runsHere { return .active }
        if machine.primaryIsAlive(at: now) {
            return machine.isSyncing ? .syncing : machine.isUnacknowledged ? .unacknowledged : .standby
        }
        switch machine.facts.state {
        case .active: return .ended
        case .crashed: return .crashed
        case .dropped:
            return state.image == nil ? (machine.facts.generation == 0 ? .empty : .dropped) : .peerLost
        case .image: return state.image == nil ? .empty : .peerLost
        }
    }

    private static func reasons(
        _ state: borrowing State,
        _ name: GuestState,
        _ decision: ActivationDecision,
        _ guest: GuestName
    ) -> [String] {
        var reasons: [String] = []
        if let trouble = state.imageTrouble { reasons.append(trouble) }
        if name == .crashed {
            reasons.append(
                state.image == nil
                    ? "the guest crashed, and its image is lost"
                    : "the guest crashed; activate it by hand: 'remusd activate \(guest)'"
            )
        }
        if name == .unacknowledged {
            reasons.append(
                "the primary is an xl, which waits for no acknowledgement: what clients saw may be newer than this image"
            )
        }
        switch decision {
        case .allowed: break
        case .ask(let generation): reasons.append("the arbiter will be asked for generation \(generation)")
        case .arbiterDiffers(let text): reasons.append(text)
        case .alreadyActive:
            return [
                "UNPROTECTED: the guest runs here and nobody keeps its image; 'remusd protect' it to a standby"
            ]
        case .primaryAlive: break
        case .noConsistentImage(let text), .fencingUnconfirmed(let text), .generationMismatch(let text):
            reasons.append(text)
        case .unacknowledged:
            reasons.append(
                "what clients saw may be newer than the image, which came from an xl: --accept-rollback"
            )
        case .mayBeOlder(let span):
            reasons.append(
                "the image may be older than what clients saw, by up to \(span.rounded): --accept-rollback"
            )
        }
        if let lost = state.machine.lostReason, state.machine.liveConnection == nil {
            reasons.append(LinkFailure.text(state.link.failure, of: "the primary", lost))
        }
        return reasons
    }
}
