import Checkpoint
import SystemSupport

/// One thing that `remusd arbiter check` tried.
package struct ArbiterCheckStep: Codable, Equatable, Sendable {
    /// What it was: `first grant`.
    package let name: String
    package let microseconds: UInt64
    /// What was wrong; nil: it was right.
    package let problem: String?

    package enum CodingKeys: String, CodingKey {
        case name
        case microseconds = "took_us"
        case problem
    }
}

/// What `remusd arbiter check` found. JSON: schema `remusd.arbiter-check/1`.
package struct ArbiterCheck: Codable, Equatable, Sendable {
    package enum Outcome: String, Codable, Sendable {
        /// Everything was as it must be.
        case works
        /// It does not answer, or not in time.
        case unavailable
        /// It answers, and wrongly: whoever relied on it could see two copies.
        case wrong
    }

    package let schema: String
    package let arbiter: String
    package var outcome: Outcome
    /// What must be the same on both hosts; not there where there is nothing like it.
    package var identity: String?
    package var steps: [ArbiterCheckStep]
    package var notes: [String]

    package init(_ spec: ArbiterSpec) {
        schema = "remusd.arbiter-check/1"
        arbiter = spec.name
        outcome = .works
        steps = []
        notes = []
    }
}

/// Tries an arbiter out, under the UUID of a guest that does not exist.
package enum ArbiterProbe {
    /// The owner of a probe's records. Only such are ever removed.
    package static let owner = "remusd arbiter check"

    /// Tries everything that a failure would need: to read, to be granted, to ask again, to be refused, to swap.
    /// - Parameter deadline: for each step.
    package static func check(_ spec: ArbiterSpec, deadline: TimeSpan) -> ArbiterCheck {
        var check = ArbiterCheck(spec)
        switch spec {
        case .preferPrimary:
            check.notes.append("there is no arbiter: the standby never acts by itself")
        case .manual:
            check.notes.append("a person decides: nothing can be tried")
        case .exec(let path):
            check.notes.append("only 'check' was asked: a grant may fence somebody")
            Self.exec(ExecArbiter(path: path), &check, deadline)
        case .file(let path):
            let kind = try? AbandonableCalls().run(within: deadline) { _ in
                (try? ArbiterDirectory(path))?.localKind()
            }
            if let kind = kind ?? nil {
                check.notes.append(
                    "\(path) is on \(kind), which other hosts cannot have mounted, as far as is known here: between two hosts "
                        + "this is no arbiter"
                )
            }
            Self.store(FileStore(path: path), &check, deadline)
        case .etcd(let etcd): Self.store(EtcdStore(etcd), &check, deadline)
        }
        return check
    }

    private static func exec(_ arbiter: ExecArbiter, _ check: inout ArbiterCheck, _ deadline: TimeSpan) {
        let calls = AbandonableCalls()
        _ = step("check", &check) { () throws(ArbiterError) in
            try calls.run(within: deadline) { deadline throws(ArbiterError) in
                try arbiter.check(until: deadline)
            }
            return nil
        }
    }

    static func store(_ store: some RecordStore, _ check: inout ArbiterCheck, _ deadline: TimeSpan) {
        let arbiter = DeadlineArbiter(StoreArbiter(store))
        let calls = AbandonableCalls()
        let guest = GuestUUID.random()
        func ask(
            _ from: UInt64,
            id: UInt64,
            usedBefore: Bool,
            expecting: (GrantAnswer) -> Bool
        ) throws(ArbiterError) -> String? {
            let wanted = GrantRecord(generation: from + 1, owner: owner, id: id)
            let request = GrantRequest(guest: guest, from: from, wanted: wanted, usedBefore: usedBefore)
            let answer = arbiter.ask(request, deadline: deadline)
            if case .unavailable(let reason) = answer { throw ArbiterError(reason) }
            return expecting(answer) ? nil : "answered \(answer)"
        }
        let first = GrantRecord(generation: 1, owner: owner, id: 1)
        let second = GrantRecord(generation: 2, owner: owner, id: 3)
        var identity: String?
        let steps: [(String, () throws(ArbiterError) -> String?)] = [
            (
                "identity",
                { () throws(ArbiterError) in
                    identity = try calls.run(within: deadline) { deadline throws(ArbiterError) in
                        try store.identity(until: deadline)
                    }
                    return nil
                }
            ),
            (
                "read nothing",
                { () throws(ArbiterError) in
                    try arbiter.record(of: guest, deadline: deadline).map { "found \($0)" }
                }
            ),
            (
                "memory lost",
                { () throws(ArbiterError) in
                    try ask(0, id: 1, usedBefore: true) { $0 == .memoryLost(found: nil) }
                }
            ),
            (
                "first grant",
                { () throws(ArbiterError) in try ask(0, id: 1, usedBefore: false) { $0 == .granted(first) } }
            ),
            (
                "asked again",
                { () throws(ArbiterError) in try ask(0, id: 1, usedBefore: true) { $0 == .granted(first) } }
            ),
            (
                "a rival",
                { () throws(ArbiterError) in try ask(0, id: 2, usedBefore: false) { $0 == .denied(by: first) }
                }
            ),
            (
                "swap",
                { () throws(ArbiterError) in try ask(1, id: 3, usedBefore: true) { $0 == .granted(second) } }
            ),
            (
                "an old image",
                { () throws(ArbiterError) in try ask(1, id: 4, usedBefore: true) { $0 == .denied(by: second) }
                }
            ),
            (
                "read",
                { () throws(ArbiterError) in
                    let found = try arbiter.record(of: guest, deadline: deadline)
                    return found == second ? nil : "found \(found.map { "\($0)" } ?? "nothing")"
                }
            ),
        ]
        for (name, body) in steps {
            guard step(name, &check, body) else { break }
        }
        check.identity = identity
        guard check.steps.contains(where: { $0.name == "first grant" }) else { return }
        do throws(ArbiterError) {
            try calls.run(within: deadline) { deadline throws(ArbiterError) in
                try store.removeProbe(guest, until: deadline)
            }
        } catch {
            check.notes.append("the probe's record may be left, of the guest \(guest): \(error)")
        }
    }

    /// Takes the time of one step.
    /// - Returns: whether to go on.
    private static func step(
        _ name: String,
        _ check: inout ArbiterCheck,
        _ body: () throws(ArbiterError) -> String?
    ) -> Bool {
        let begin = Clock.monotonic
        var problem: String?
        do throws(ArbiterError) {
            problem = try body()
            if problem != nil { check.outcome = .wrong }
        } catch {
            check.outcome = .unavailable
            problem = error.description
        }
        let took = (Clock.monotonic - begin) / 1000
        check.steps.append(ArbiterCheckStep(name: name, microseconds: took, problem: problem))
        return problem == nil
    }
}
