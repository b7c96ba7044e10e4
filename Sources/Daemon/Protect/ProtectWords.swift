import Checkpoint
import Glibc
import Logging
import SystemSupport

/// `remusd continue` and `remusd resolve`, as a primary takes them.
extension ProtectService {
    /// Somebody vouches for the standby that output is held for.
    func goOn(_ request: ContinueRequest, by who: Speaker? = nil) -> WordReply {
        let status = engine.snapshot.status
        switch status.state {
        case .alone: return reply(.done, "the guest runs alone already")
        case .outdated:
            return reply(.outdated, "this copy may not run any more: the guest is active elsewhere")
        case .splitBrain:
            return reply(.outdated, "the guest runs at the standby too: remusd resolve \(guest) --keep HOST")
        default: break
        }
        guard status.mayContinue else {
            return status.plugClosed
                ? reply(.otherAlive, "the standby answers: output goes out as it acknowledges it")
                : reply(.nothingToDo, "no output of the guest is held")
        }
        let names = engine.records.standbyNames
        guard names.isEmpty || names.contains(request.confirmFenced) else {
            return reply(
                .wrongHost,
                "output is held for the standby \(names.joined(separator: ", also called ")), "
                    + "--confirm-fenced names \(request.confirmFenced)"
            )
        }
        var said = AuditEntry.Word()
        said.confirmFenced = request.confirmFenced
        return audited(.continue, said, who, status.generation) {
            log.critical(
                "somebody vouches that the standby is off",
                metadata: ["host": "\(request.confirmFenced)"]
            )
            return goOn()
        }
    }

    private func goOn() -> WordReply {
        engine.requestContinuation()
        let isSettled = waits { [.alone, .ended, .outdated].contains($0.state) }
        guard isSettled else {
            return reply(
                .pending,
                "the word was taken, and the guest does not run alone yet: remusd status \(guest)"
            )
        }
        guard engine.snapshot.status.state != .outdated else {
            return reply(.outdated, "the arbiter granted the guest to another host: it may be active there")
        }
        return reply(.done, "the guest goes on alone, UNPROTECTED, until its standby is back")
    }

    /// Which copy is kept after a split.
    func resolve(_ request: ResolveRequest, by who: Speaker? = nil) -> WordReply {
        let status = engine.snapshot.status
        let keepsThis = request.keep == PrimaryIdentity.hostName
        let standby = engine.records.standbyNames
        guard keepsThis || standby.contains(request.keep) else {
            let names = [PrimaryIdentity.hostName] + standby
            return reply(
                .wrongHost,
                "the copies are at \(names.joined(separator: ", ")), --keep names \(request.keep)"
            )
        }
        switch status.state {
        case .splitBrain: break
        case .outdated:
            return keepsThis
                ? reply(.outdated, "this copy is outdated for good: activate, or start, the guest elsewhere")
                : reply(.done, "this copy is outdated already")
        default: return reply(.nothingToDo, "there is no split: the guest is \(status.state.rawValue) here")
        }
        var said = AuditEntry.Word()
        said.keep = request.keep
        return audited(.resolve, said, who, status.generation) {
            log.critical("somebody resolves the split", metadata: ["keep": "\(request.keep)"])
            return resolve(keepsThis: keepsThis)
        }
    }

    private func resolve(keepsThis: Bool) -> WordReply {
        engine.requestResolution(keepsThis: keepsThis)
        let isDone = waits { $0.state != .splitBrain }
        guard isDone else { return reply(.pending, "the word was taken: remusd status \(guest)") }
        return keepsThis
            ? reply(.done, "this copy is kept; stop the one at the standby, and it is protected again")
            : reply(.done, "this copy is outdated, and what it says is dropped: stop it")
    }

    /// Does by somebody's word what is written down first; nothing where that cannot be.
    private func audited(
        _ act: AuditEntry.Act,
        _ said: AuditEntry.Word,
        _ who: Speaker?,
        _ generation: UInt64,
        _ body: () -> WordReply
    ) -> WordReply {
        var entry = AuditEntry(act, guest, uuid: uuid.description, said: said, who: who)
        entry.generationBefore = generation
        do throws(Audit.NotWritten) {
            return try Audit(paths).witness(entry, log, body)
        } catch {
            return reply(.tryAgain, "\(error)")
        }
    }

    /// False if it is not reached within five seconds.
    private func waits(_ isReached: (ProtectStatus) -> Bool) -> Bool {
        let deadline = Clock.monotonic + 5_000_000_000
        while Clock.monotonic < deadline {
            if isReached(engine.snapshot.status) { return true }
            usleep(20_000)
        }
        return false
    }

    private func reply(_ outcome: WordOutcome, _ message: String) -> WordReply {
        WordReply(
            guest: guest.description,
            outcome: outcome,
            generation: engine.snapshot.status.generation,
            message: message
        )
    }
}
