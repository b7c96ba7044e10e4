import Checkpoint
import SystemSupport

/// A program that answers: a fence agent's wrapper, or somebody else's store. What it is asked and what its exit code means is
/// docs/arbiters.md, "exec". Whatever it does that is not in the contract is no answer.
struct ExecArbiter: ArbiterBackend {
    let path: String

    var name: String { "exec:\(path)" }

    func ask(_ request: GrantRequest, until deadline: UInt64) -> GrantAnswer {
        do {
            let contract = ExecContract(.grant, request: request, until: deadline)
            let ending = try run(contract, until: deadline)
            switch ending.how {
            case .exited(0): return .granted(request.wanted)
            case .exited(1): return refusal(of: request, ending)
            default: return .unavailable("\(name): \(text(ending))")
            }
        } catch {
            return .unavailable("\(name): \(error)")
        }
    }

    func record(of guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) -> GrantRecord? {
        let ending = try run(ExecContract(.record, guest: guest, until: deadline), until: deadline)
        guard ending.how == .exited(0) else { throw ArbiterError(text(ending)) }
        guard !ending.output.isEmpty else { return nil }
        return try GrantDocument.decode(ending.output, of: guest, in: "its output")
    }

    /// A program that fails for any other reason exits with 1 too: a refusal is one that says who has the generation.
    private func refusal(of request: GrantRequest, _ ending: BoundedProgram.Ending) -> GrantAnswer {
        let record: GrantRecord
        do {
            record = try GrantDocument.decode(ending.output, of: request.guest, in: "its output")
        } catch {
            return .unavailable(
                "\(name): \(text(ending)); that is no refusal, since it does not say who has it: \(error)"
            )
        }
        switch request.judge(record) {
        case .answer(let answer): return answer
        case .swap:
            return .unavailable("\(name): it refuses, and what it says is there (\(record)) is no reason to")
        }
    }

    /// Whether it says that it can do its work. Grants nothing, fences nobody.
    func check(until deadline: UInt64) throws(ArbiterError) {
        let ending = try run(ExecContract(.check, until: deadline), until: deadline)
        guard ending.how == .exited(0) else { throw ArbiterError(text(ending)) }
    }

    private func run(
        _ contract: ExecContract,
        until deadline: UInt64
    ) throws(ArbiterError) -> BoundedProgram.Ending {
        let input: [UInt8]
        do { input = try contract.input() } catch { throw ArbiterError("\(error)") }
        return try BoundedProgram.run(
            path,
            [contract.verb],
            environment: contract.environment(),
            input: input,
            until: deadline
        )
    }

    private func text(_ ending: BoundedProgram.Ending) -> String {
        ending.lastWords.isEmpty ? "\(ending.how)" : "\(ending.how): \(ending.lastWords)"
    }
}
