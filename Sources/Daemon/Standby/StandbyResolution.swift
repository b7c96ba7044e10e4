import Checkpoint
import Logging
import Synchronization
import SystemSupport

extension StandbyGuest {
    /// Which copy is kept after a split: this one, which was activated here, or the other, which is protected elsewhere.
    func resolve(_ request: ResolveRequest, by who: Speaker? = nil) -> WordReply {
        noticeEndOfGuest()
        let keepsThis = request.keep == PrimaryIdentity.hostName
        return session.withLock { _ in
            state.withLock { state in
                let facts = state.machine.facts
                func reply(_ outcome: WordOutcome, _ message: String) -> WordReply {
                    WordReply(
                        guest: name.description,
                        outcome: outcome,
                        generation: facts.generation,
                        message: message
                    )
                }
                guard facts.state == .active else {
                    return reply(.nothingToDo, "the guest was not activated here, or is given up already")
                }
                if keepsThis {
                    return reply(
                        .done,
                        "this copy is kept; resolve it on the other host too, and stop the copy there"
                    )
                }
                guard !state.machine.runsHere, !state.activating else {
                    return reply(
                        .otherAlive,
                        "the guest runs here, and nothing holds its output: stop it, then repeat this command"
                    )
                }
                var said = AuditEntry.Word()
                said.keep = request.keep
                let uuid = state.uuid?.description ?? ""
                var entry = AuditEntry(.resolve, name, uuid: uuid, said: said, who: who)
                entry.generationBefore = facts.generation
                entry.generationAfter = facts.generation
                do throws(Audit.NotWritten) {
                    return try Audit(paths).witness(entry, log) {
                        log.critical("somebody gives this copy up", metadata: ["keep": "\(request.keep)"])
                        let (outcome, message) = giveUp(facts, &state)
                        return reply(outcome, message)
                    }
                } catch {
                    return reply(.tryAgain, "\(error)")
                }
            }
        }
    }

    private func giveUp(_ facts: StandbyFacts, _ state: inout State) -> (WordOutcome, String) {
        let given = StandbyFacts(state: .dropped, generation: facts.generation, arbiter: facts.arbiter)
        do {
            try store(given, &state)
        } catch {
            return (.pending, "it cannot be written down: \(error)")
        }
        state.machine.adopt(given, runsHere: false, imageConsumed: true)
        if let image = state.image {
            guardian.drop(name.description)
            image.giveUp()
            state.image = nil
        }
        return (.done, "this copy is given up; the guest may be protected to this host again")
    }
}
