import Checkpoint
import Logging
import SystemSupport

/// The durable list of what people vouched for on this host (`Paths.audit`): appended to, never rewritten, and bounded.
package struct Audit: Sendable {
    /// Bytes of the file, and as many of the one before it.
    package static let limit = 1 << 20

    private let path: String

    package init(_ paths: Paths) { path = paths.audit }

    /// Somebody's word that cannot be written down is not taken.
    package struct NotWritten: Error, CustomStringConvertible {
        let reason: SystemError

        package var description: String {
            "nothing was done: what people vouch for is written down first, and that fails: \(reason)"
        }
    }

    /// Does something by somebody's word: that is written down before, and what came of it afterwards.
    func witness<Answer: AuditedAnswer>(
        _ entry: AuditEntry,
        _ log: Logger,
        _ act: () -> Answer
    ) throws(NotWritten) -> Answer {
        let entry = try begin(entry)
        let answer = act()
        end(entry, answer.outcomeText, answer.message, generation: answer.generationNow, log)
        return answer
    }

    /// The same for what gives no answer, and may fail: that is what came of it then.
    /// - Parameters:
    ///   - failure: the outcome where it throws.
    ///   - ended: what came of it where it does not.
    func witness<Result>(
        _ entry: AuditEntry,
        _ log: Logger,
        failure: String,
        _ act: () throws -> Result,
        ended: (Result) -> (outcome: String, message: String, generation: UInt64)
    ) throws -> Result {
        let entry = try begin(entry)
        do {
            let result = try act()
            let end = ended(result)
            self.end(entry, end.outcome, end.message, generation: end.generation, log)
            return result
        } catch {
            end(entry, failure, "\(error)", generation: entry.generationBefore, log)
            throw error
        }
    }

    /// Writes down, durably, what is about to be done by somebody's word.
    /// - Returns: the entry, for `end`.
    package func begin(_ entry: AuditEntry) throws(NotWritten) -> AuditEntry {
        var entry = entry
        entry.id = HexID.text(.random(in: 1 ... .max))
        entry.outcome = "taken"
        do throws(SystemError) {
            try append(entry)
        } catch {
            throw NotWritten(reason: error)
        }
        return entry
    }

    /// Writes down what came of it. It has happened: where that fails, the log has it.
    package func end(
        _ entry: AuditEntry,
        _ outcome: String,
        _ message: String,
        generation: UInt64?,
        _ log: Logger
    ) {
        var entry = entry
        entry.outcome = outcome
        entry.message = message
        entry.generationAfter = generation
        do throws(SystemError) {
            try append(entry)
        } catch {
            log.error(
                "what came of somebody's word is not in the audit: \(error)",
                metadata: ["id": "\(entry.id)", "outcome": "\(outcome)"]
            )
        }
    }

    /// One line for `status`: what was said last about a guest, and where all of it is; nil where nothing was.
    package func summary(of guest: GuestName) -> String? {
        last(of: guest).map {
            "By somebody's word: \($0.act.rawValue) at \($0.time) (\($0.outcome)); all such words are in \(path)"
        }
    }

    /// The newest line about a guest, in the file that is written to; nil where there is none.
    package func last(of guest: GuestName) -> AuditEntry? {
        for line in (SmallFile.readBytes(path) ?? []).split(separator: UInt8(ascii: "\n")).reversed() {
            // A line that was cut short says nothing.
            guard let entry = try? ControlJSON.decode(AuditEntry.self, from: Array(line)) else { continue }
            if entry.guest == guest.text { return entry }
        }
        return nil
    }

    private func append(_ entry: AuditEntry) throws(SystemError) {
        var entry = entry
        entry.time = Timestamp.nowPrecise
        let line: [UInt8]
        do {
            line = try ControlJSON.encode(entry)
        } catch {
            throw SystemError("encode a line of \(path)", code: 22)
        }
        try LineFile.append(line, to: path, limit: Self.limit)
    }
}

/// An answer to an order that somebody's word made possible.
protocol AuditedAnswer {
    var outcomeText: String { get }
    var message: String { get }
    /// What the guest has afterwards.
    var generationNow: UInt64? { get }
}

extension ActivateReply: AuditedAnswer {
    var outcomeText: String { outcome.rawValue }
    var generationNow: UInt64? { generation }
}

extension WordReply: AuditedAnswer {
    var outcomeText: String { outcome.rawValue }
    var generationNow: UInt64? { generation }
}
