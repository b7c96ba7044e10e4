import Checkpoint
import Logging
import Synchronization
import SystemSupport

/// Whom a standby asks before it activates, and what it does by itself.
struct StandbyArbiter: Sendable {
    let arbiter: any Arbiter
    /// Activates a guest whose primary is gone, without being told to; nil: only when told.
    var activateByItself: (@Sendable (StandbyGuest) -> Void)?

    var choice: ArbiterChoice { ArbiterChoice(arbiter) }
}

extension StandbyGuest {
    /// Tells a machine what it was started with.
    static func equip(_ machine: inout StandbyMachine, with arbiter: StandbyArbiter?) {
        machine.arbiter = arbiter?.choice
        machine.activatesByItself = arbiter?.activateByItself != nil
    }

    /// Asks the arbiter for the image's next generation. The caller has the session lock; no hello is taken meanwhile.
    /// - Returns: what was granted, or the answer to give.
    func askArbiter() -> Result<GrantRecord, AskingFailure> {
        guard let arbiter else { return .failure(AskingFailure(.unavailable("this standby has no arbiter"))) }
        let request: GrantRequest?
        do {
            request = try state.withLock { state in
                guard let uuid = state.uuid,
                    let (facts, request) = state.machine.wishing(for: uuid, id: .random(in: 1 ... .max))
                else { return nil }
                try store(facts, &state)
                state.machine.adopt(facts, runsHere: false, imageConsumed: false)
                state.machine.isAsking = true
                return request
            }
        } catch {
            return .failure(
                AskingFailure(.unavailable("what is to be asked cannot be written down: \(error)"))
            )
        }
        guard let request else { return .failure(AskingFailure(.unavailable("the image is gone"))) }
        log.notice(
            "asking the arbiter",
            metadata: ["arbiter": "\(arbiter.choice.name)", "generation": "\(request.wanted.generation)"]
        )
        let answer = arbiter.arbiter.ask(request, deadline: ArbiterWorker.deadline)
        state.withLock { state in
            state.machine.isAsking = false
            state.lastAnswer = answer
        }
        if case .granted(let record) = answer { return .success(record) }
        let failure = AskingFailure(answer)
        log.warning("\(failure.text)", metadata: ["arbiter": "\(arbiter.choice.name)"])
        return .failure(failure)
    }

    /// Makes the arbiter's record this host's, by somebody's word, whatever it says; without it if it does not answer.
    /// - Returns: the generation to start as, and the record if it says so.
    func overruleArbiter(_ generation: UInt64) -> (generation: UInt64, record: GrantRecord?) {
        let uuid = state.withLock { $0.uuid }
        guard let arbiter, arbiter.choice.decides, let uuid else { return (generation, nil) }
        let host = PrimaryIdentity.hostName
        let found: GrantRecord?
        do throws(ArbiterError) {
            found = try arbiter.arbiter.record(of: uuid, deadline: ArbiterWorker.deadline)
        } catch {
            log.error("the arbiter is not told that it was overruled: \(error)")
            return (generation, nil)
        }
        let next = max(generation, (found?.generation ?? 0) + 1)
        let wanted = GrantRecord(generation: next, owner: host, id: .random(in: 1 ... .max))
        let request = GrantRequest(
            guest: uuid,
            from: found?.generation ?? 0,
            wanted: wanted,
            usedBefore: false
        )
        let answer = arbiter.arbiter.ask(request, deadline: ArbiterWorker.deadline)
        state.withLock { $0.lastAnswer = answer }
        if case .granted(let record) = answer { return (next, record) }
        log.error("the arbiter is not told that it was overruled: \(AskingFailure(answer).text)")
        return (next, nil)
    }

    // MARK: By itself

    /// The machine wants its image activated. Called with the state's lock.
    func beginActivation() {
        guard let activate = arbiter?.activateByItself else { return }
        let thread = try? WorkerThread("activate") { [self] in
            log.critical("the primary is gone without a word: the arbiter is asked for this guest")
            activate(self)
        }
        thread?.detach()
    }

    /// Says what came of it.
    func endActivation(_ reply: ActivateReply) {
        let again: Bool
        switch reply.outcome {
        case .active: return log.critical("activated without being told to: \(reply.message)")
        case .tryAgain, .resourcesMissing, .arbiterUnavailable: again = true
        default: again = false
        }
        log.error("not activated\(again ? ", and tried again" : ""): \(reply.message)")
        _ = try? handle(.activationFailed(again: again))
    }

    /// Lets time pass where no connection does.
    func tickIfAlone() {
        let isAlone = state.withLock { $0.machine.liveConnection == nil && $0.machine.wantsTime }
        if isAlone { _ = try? handle(.tick) }
    }
}

/// The arbiter granted nothing.
struct AskingFailure: Error {
    let answer: GrantAnswer

    init(_ answer: GrantAnswer) { self.answer = answer }

    var outcome: ActivateOutcome {
        switch answer {
        case .denied: .arbiterDenied
        case .granted, .memoryLost, .unavailable: .arbiterUnavailable
        }
    }

    var text: String {
        switch answer {
        case .granted: "granted"
        case .denied(let record):
            "\(record.grantText): this image may not be activated"
        case .memoryLost(let found): GrantAnswer.memoryLostText(found: found)
        case .unavailable(let reason): "the arbiter does not answer: \(reason)"
        }
    }
}
