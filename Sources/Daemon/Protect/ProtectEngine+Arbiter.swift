import Checkpoint
import Logging
import SystemSupport

/// What a person, or the arbiter, says to a running protection.
struct ProtectMail: Sendable {
    var unprotect = false
    var goOn = false
    /// Which copy is kept after a split.
    var keepsThis: Bool?
    var answers: [GrantAnswer] = []

    /// In the order in which the machine takes them.
    var events: [ProtectEvent] {
        var events = answers.map { ProtectEvent.arbiterAnswered($0) }
        if unprotect { events.append(.unprotectRequested) }
        if goOn { events.append(.continueRequested) }
        if let keepsThis { events.append(.resolveRequested(keepsThis: keepsThis)) }
        return events
    }
}

/// A record that could not be written, and is to be.
struct UnstoredRecord {
    let what: String
    /// Writes it; what the machine hears then.
    let write: () throws -> ProtectEvent
}

extension ProtectEngine {
    /// What has to be durable before the machine goes on.
    func store(_ effect: ProtectEffect) {
        let records = records
        switch effect {
        case .storeGeneration(let generation):
            keep("generation \(generation)") {
                try records.store(generation)
                return .generationStored(generation)
            }
        case .storeWish(let generation):
            keep("the request for generation \(generation)") {
                .wishStored(try records.wish(for: generation))
            }
        case .storeGrant(let record):
            keep("the granted generation \(record.generation)") {
                try records.grant(record)
                return .generationStored(record.generation)
            }
        case .storeContinuation(let generation):
            log.critical(
                "by somebody's word the standby is off, and the guest goes on",
                metadata: ["generation": "\(generation)"]
            )
            keep("generation \(generation)") {
                try records.goOn(as: generation)
                return .generationStored(generation)
            }
        default: break
        }
    }

    private func keep(_ what: String, _ write: @escaping () throws -> ProtectEvent) {
        unstored = UnstoredRecord(what: what, write: write)
        storeUnstored(isFirst: true)
    }

    /// Writes what is to be written. Where that fails, `run` tries again at `retryStoreAt`.
    func storeUnstored(isFirst: Bool = false) {
        guard let unstored else { return }
        do {
            let event = try unstored.write()
            self.unstored = nil
            events.isEmpty ? dispatch(event) : events.append(event)
        } catch {
            if isFirst { log.error("cannot store \(unstored.what); output stays held: \(error)") }
            retryStoreAt = now + .seconds(1)
        }
    }

    func askArbiter(_ request: GrantRequest) {
        if let obstacleToAsking {
            return events.append(.arbiterAnswered(.unavailable(obstacleToAsking)))
        }
        log.notice(
            "asking the arbiter",
            metadata: [
                "arbiter": "\(options.arbiter?.name ?? "-")", "generation": "\(request.wanted.generation)",
            ]
        )
        guard let arbiter = options.arbiter else {
            return events.append(.arbiterAnswered(.unavailable("this protect has no arbiter")))
        }
        if arbiterWorker == nil {
            do throws(SystemError) {
                arbiterWorker = try ArbiterWorker(arbiter) { [weak self] in self?.hear($0) }
            } catch {
                return events.append(.arbiterAnswered(.unavailable(error.description)))
            }
        }
        arbiterWorker?.ask(request)
    }

    /// On the arbiter's thread.
    private func hear(_ answer: GrantAnswer) { post { $0.answers.append(answer) } }

    /// Somebody vouches that the standby is off, or cut off, and will not be activated. Any thread.
    package func requestContinuation() { post { $0.goOn = true } }

    /// After a split: which copy is kept. Any thread.
    package func requestResolution(keepsThis: Bool) { post { $0.keepsThis = keepsThis } }
}
