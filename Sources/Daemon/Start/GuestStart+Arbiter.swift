import Checkpoint
import Logging
import SystemSupport

/// A start anew is a new generation: where the guest has an arbiter that decides, no image may have been granted it.
extension GuestStart {
    /// The arbiter granted the start to nobody here.
    package struct NotGranted: Error, CustomStringConvertible {
        /// Somebody else has the guest; else there was no answer.
        package let isDenied: Bool
        package let description: String
    }

    /// What this host knows of the guest's record at its arbiter, in both its roles.
    private var memory: ArbiterFacts? {
        let known = [primary?.arbiter?.facts, standby?.arbiter?.facts].compactMap(\.self)
        return known.max { $0.granted < $1.granted }
    }

    /// The generation to have granted where the other host is silent; nil unless the guest has an arbiter that decides. Whoever
    /// is granted it is the only one: what the other host may have was not granted since the guest ran here, and never is.
    package func generationToAskFor(_ answer: Answer, _ order: Order) -> UInt64? {
        guard answer.decision == .peerSilent, let memory,
            let spec = order.arbiter ?? (try? ArbiterSpec(parsing: memory.name)), spec.canDecide
        else { return nil }
        return HostClaim(primary, standby, uuid: uuid).highest + 1
    }

    /// Has the arbiter grant the start, if the guest has one, and writes down that this host may run it; before it is
    /// started.
    /// - Throws: `NotGranted`, `ValueError` for an arbiter that is not the guest's, `SystemError`; `Audit.NotWritten` where
    ///   it is somebody's word.
    package func record(_ generation: UInt64, _ order: Order) throws {
        guard let said = order.word else { return try recordGrant(generation, order) }
        var entry = AuditEntry(.start, name, uuid: uuid, said: said, who: Speaker(.own))
        entry.generationBefore = primary?.generation
        entry.generationAfter = generation
        try Audit(paths).witness(entry, Logger(label: "start"), failure: "not_granted") {
            try recordGrant(generation, order)
        } ended: { _ in
            ("may_start", "this host may start the guest", generation)
        }
    }

    private func recordGrant(_ generation: UInt64, _ order: Order) throws {
        guard var memory, let uuid = GuestUUID(uuid) else { return try store(generation, nil) }
        let spec = try order.arbiter ?? ArbiterSpec(parsing: memory.name)
        guard spec.name == memory.name else {
            throw ValueError(kind: "arbiter", text: spec.name, rightForm: "its records name \(memory.name)")
        }
        guard spec.canDecide, let arbiter = makeArbiter(spec) else { return try store(generation, memory) }
        let request = memory.wish(
            for: uuid,
            generation,
            owner: PrimaryIdentity.hostName,
            id: .random(in: 1 ... .max)
        )
        try store(nil, memory)
        switch arbiter.ask(request, deadline: ArbiterWorker.deadline) {
        case .granted(let record):
            memory.noteGrant(record)
            try store(max(generation, record.generation), memory)
        case .denied(let record):
            throw NotGranted(isDenied: true, description: "\(record.grantText): start, or activate, it there")
        case let answer:
            let text = AskingFailure(answer).text
            guard order.confirmFenced != nil else {
                throw NotGranted(
                    isDenied: false,
                    description: "\(text); if the other host is off, fence it and add --confirm-fenced HOST"
                )
            }
            Logger(label: "start").critical(
                "started by somebody's word: \(text)",
                metadata: ["guest": "\(name)", "generation": "\(generation)"]
            )
            memory.noteWord()
            try store(generation, memory)
        }
    }
}
