import Checkpoint
import Glibc
import Logging
import NetBuffer
import Synchronization
import SystemSupport
import Transport
import XenHost
import XenStream

/// `remusd activate`: decide, write down, start. It refuses before the grant and never after.
extension StandbyGuest {
    /// How often a start is tried before the caller is told to try again.
    private static let startAttempts = 3

    /// Activates the guest, or says why not. Blocks until it answers.
    /// - Parameter who: who asks, where that is known.
    func activate(
        _ request: ActivateRequest,
        with activator: any GuestActivator,
        by who: Speaker? = nil
    ) -> ActivateReply {
        noticeEndOfGuest()
        noticeLostImage()
        let decision = decide(request)
        guard let generation = decision.generation else { return refusal(decision) }
        let plan = state.withLock { state in state.image.map { makePlan(request, $0) } }
        guard let plan else {
            return refusal(.noConsistentImage("there is no committed image of this guest here"))
        }
        let missing = activator.missingResources(for: plan)
        guard missing.isEmpty else {
            return reply(
                .resourcesMissing,
                "the guest cannot be started here: \(missing[0])",
                reasons: missing
            )
        }
        if request.dryRun {
            return reply(
                .wouldActivate,
                decision == .ask(generation: generation)
                    ? "the arbiter would be asked for generation \(generation)"
                    : "nothing stands in the way of generation \(generation)",
                generation: generation
            )
        }
        if let veto = askHooks(generation) { return reply(veto.outcome, veto.reason) }
        // Nobody else uses the image's memory from here on; a session that ends now is waited for, and one that hangs
        // in the middle of a frame is ended.
        state.withLock { state in
            state.machine.liveConnection.flatMap { state.connections[$0] }?.shutDown()
        }
        return session.withLock { _ in
            let decision = decide(request)
            guard let generation = decision.generation else { return refusal(decision) }
            // While the hooks were asked, a session may have begun with another image.
            var plan = state.withLock { state in state.image.map { makePlan(request, $0) } } ?? plan
            // Beside the writing; what does not come to a start, whatever the reason, is ended.
            plan.begun = activator.begin(plan)
            defer { plan.begun?.abandon() }
            // A grant is permanent: nobody's word is needed any more.
            guard let said = request.word, !isGranted else {
                return carryOut(decision, request, plan, activator)
            }
            do throws(Audit.NotWritten) {
                return try Audit(paths).witness(entry(said, who, generation), log) {
                    carryOut(decision, request, plan, activator)
                }
            } catch {
                return reply(.tryAgain, "\(error)")
            }
        }
    }

    private func entry(_ said: AuditEntry.Word, _ who: Speaker?, _ generation: UInt64) -> AuditEntry {
        state.withLock { state in
            let uuid = state.uuid?.description ?? ""
            var entry = AuditEntry(.activate, name, uuid: uuid, said: said, who: who)
            entry.generationBefore = state.image?.image.generation ?? state.machine.facts.generation
            entry.generationAfter = generation
            return entry
        }
    }

    private func carryOut(
        _ decision: ActivationDecision,
        _ request: ActivateRequest,
        _ plan: ActivationRequest,
        _ activator: any GuestActivator
    ) -> ActivateReply {
        switch decision {
        case .allowed(let generation) where request.force && !isGranted:
            return force(request, plan, generation, activator)
        case .allowed(let generation): return grantAndStart(plan, generation, nil, activator)
        case .ask:
            switch askArbiter() {
            case .success(let record): return grantAndStart(plan, record.generation, record, activator)
            case .failure(let failure): return reply(failure.outcome, failure.text)
            }
        default: return refusal(decision)
        }
    }

    /// The guest was granted to this host, and has not started.
    private var isGranted: Bool { state.withLock { $0.machine.facts.state == .active } }

    /// By somebody's word, which is in the audit already, and in the log.
    private func force(
        _ request: ActivateRequest,
        _ plan: ActivationRequest,
        _ generation: UInt64,
        _ activator: any GuestActivator
    ) -> ActivateReply {
        log.critical(
            "activation is FORCED, whatever the arbiter says",
            metadata: [
                "generation": "\(generation)", "if_generation": "\(request.ifGeneration ?? 0)",
                "confirm_fenced": "\(request.confirmFenced ?? "-")",
            ]
        )
        let (next, record) = overruleArbiter(generation)
        return grantAndStart(plan, next, record, activator)
    }

    private func decide(_ request: ActivateRequest) -> ActivationDecision {
        let order = ActivationOrder(
            confirmFenced: request.confirmFenced,
            ifGeneration: request.ifGeneration,
            acceptRollback: request.acceptRollback,
            force: request.force
        )
        let watch = state.withLock { $0.primaryWatch }
        let gone = watch?.primaryGoneSince
        return state.withLock { state in
            if state.imageTrouble != nil, state.image == nil, !state.machine.runsHere {
                return .noConsistentImage(state.imageTrouble ?? "")
            }
            return state.machine.decide(order, primaryGoneSince: gone, at: Self.now)
        }
    }

    private func makePlan(_ request: ActivateRequest, _ stored: StoredImage) -> ActivationRequest {
        let image = stored.image
        var plan = ActivationRequest(
            description: image.description,
            memoryDescriptor: stored.storage.memoryFile.raw,
            stateRecords: Array(image.state),
            address: request.listen,
            writePlainImage: { try PlainImage.write(ImageExport(of: image), config: $0, to: $1) },
            willRun: { image.startAttempted = true }
        )
        plan.prepared = stored.warm
        return plan
    }

    /// A warm image whose domain is lost is lost.
    func noticeLostImage() {
        let lost = state.withLock { state in
            guard !state.machine.runsHere, let warm = state.image?.warm, warm.isGone else {
                return nil as String?
            }
            return warm.reason
        }
        guard let lost else { return }
        log.error("the image is lost: \(lost)")
        _ = try? handle(.imageLost("the image is lost: \(lost)"))
        state.withLock { $0.imageTrouble = "the image is lost: \(lost)" }
    }

    private func grantAndStart(
        _ plan: ActivationRequest,
        _ generation: UInt64,
        _ granted: GrantRecord?,
        _ activator: any GuestActivator
    ) -> ActivateReply {
        let (facts, image) = state.withLock { state in
            let known = state.machine.facts
            let id = known.state == .active ? known.activationID : granted?.id ?? .random(in: 1 ... .max)
            return (state.machine.activated(as: generation, id: id, granted: granted), state.image)
        }
        guard let image else { return refusal(.noConsistentImage("the image is gone")) }
        var plan = plan
        plan.stateRecords = Array(image.image.state)
        if let epoch = image.image.epoch, image.image.awaitsApply {
            do { try image.apply(epoch) {} } catch { return reply(.tryAgain, "\(error)") }
        }
        do {
            try state.withLock { state in
                try store(facts, &state)
                state.machine.adopt(facts, runsHere: true, imageConsumed: false)
                state.activating = true
            }
        } catch {
            return reply(.tryAgain, "the activation cannot be written down: \(error)")
        }
        var reason = ""
        for attempt in 1...Self.startAttempts {
            // Nothing runs, and nothing ran, of an attempt that failed.
            image.image.startAttempted = false
            do throws(GuestError) {
                let started = try activator.start(plan)
                return succeed(started, facts)
            } catch {
                reason = error.reason
                log.error("start failed: \(reason)", metadata: ["attempt": "\(attempt)"])
            }
        }
        image.image.startAttempted = false
        state.withLock { state in
            if image.warm?.isGone == true {
                state.imageTrouble = "the image is lost: \(reason)"
                state.image = nil
                guardian.drop(name.description)
            }
            state.machine.adopt(facts, runsHere: false, imageConsumed: image.warm?.isGone == true)
            state.activating = false
        }
        let text =
            "the guest is granted to this host at generation \(generation) but did not start: \(reason); try again"
        return reply(.tryAgain, text, generation: generation, reasons: [reason])
    }

    private func succeed(_ started: ActivatedGuest, _ facts: StandbyFacts) -> ActivateReply {
        let epoch = state.withLock { state in
            let epoch = state.image?.image.epoch
            state.activated = started
            if !started.address.isEmpty { state.address = started.address }
            state.activating = false
            state.machine.adopt(facts, runsHere: true, imageConsumed: true)
            // The memory is the guest's own now.
            state.image = nil
            try? store(facts, &state)
            tellHooks(&state, epoch: epoch)
            return epoch
        }
        guardian.drop(name.description)
        announce(started.interfaces)
        log.notice(
            "active",
            metadata: ["generation": "\(facts.generation)", "address": "\(started.address)"]
        )
        var answer = reply(.active, "the guest is active here", generation: facts.generation)
        answer.epoch = epoch
        answer.address = started.address.isEmpty ? nil : started.address
        return answer
    }

    /// Tells the network that the guest is here now: the switches, and whoever knows its addresses.
    private func announce(_ interfaces: [GuestInterface]) {
        let announcements = interfaces.compactMap {
            Announcement(interface: $0.name, mac: $0.mac, addresses: $0.addresses)
        }
        guard !announcements.isEmpty else { return }
        let thread = try? WorkerThread("announce") { [log] in
            for error in Announcer.run(announcements) { log.warning("the guest is not announced: \(error)") }
        }
        thread?.detach()
    }

    /// An activated guest that has ended since runs here no more.
    func noticeEndOfGuest() {
        state.withLock { state in
            guard state.machine.runsHere, !state.activating else { return }
            guard state.activated?.guest.hasEnded ?? true else { return }
            state.machine.runsHere = false
            state.activated = nil
            state.imageTrouble = "the guest was activated here and has ended"
            tellHooks(&state)
        }
    }

    // MARK: Answers

    private func refusal(_ decision: ActivationDecision) -> ActivateReply {
        switch decision {
        case .allowed, .ask: return reply(.tryAgain, "the situation changed; try again")
        case .arbiterDiffers(let text): return reply(.arbiterUnavailable, text)
        case .alreadyActive:
            if state.withLock({ $0.activating }) { return reply(.tryAgain, "an activation is on its way") }
            var answer = reply(.active, "the guest is active here already")
            answer.address = state.withLock { $0.address.isEmpty ? nil : $0.address }
            return answer
        case .primaryAlive:
            return reply(.primaryAlive, "the primary is alive: it was heard within the last second")
        case .noConsistentImage(let text): return reply(.noConsistentImage, text)
        case .fencingUnconfirmed(let text): return reply(.fencingUnconfirmed, text)
        case .generationMismatch(let text):
            let dropped = state.withLock { $0.machine.facts.state == .dropped }
            return reply(dropped ? .imageDropped : .generationMismatch, text)
        case .unacknowledged:
            let text = """
                the image came from an xl, which waits for no acknowledgement: what clients saw may be newer; if that is \
                acceptable, add --accept-rollback
                """
            return reply(.mayRollBack, text)
        case .mayBeOlder(let span):
            let text = """
                the image may be older than what clients saw, by up to \(span.rounded): the primary may have gone on \
                alone; if that is acceptable, add --accept-rollback
                """
            return reply(.mayRollBack, text)
        }
    }

    private func reply(
        _ outcome: ActivateOutcome,
        _ message: String,
        generation: UInt64? = nil,
        reasons: [String] = []
    ) -> ActivateReply {
        state.withLock { state in
            let image = state.image?.image
            return ActivateReply(
                guest: name.description,
                outcome: outcome,
                generation: generation ?? image?.generation ?? state.machine.facts.generation,
                epoch: image?.epoch,
                imageAgeMs: image.map { (Self.now - $0.sealedAt).milliseconds },
                message: message,
                reasons: reasons.isEmpty && outcome.exitCode != 0 ? [message] : reasons
            )
        }
    }
}
