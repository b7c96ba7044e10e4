import SystemSupport

/// What went wrong between here and a device model.
package enum QMPError: Error, Equatable, Sendable, CustomStringConvertible {
    /// There is no socket, or nobody listens.
    case absent(String)
    /// It closed the connection; what was waited for.
    case closed(String)
    /// It says what is no QMP; what was waited for.
    case garbled(String)
    /// It refused a command.
    case refused(QMPCommand, String)
    /// It did not answer in time; what was waited for.
    case late(String)
    /// The state that it saved is none; why.
    case badState(String)
    /// This version of QEMU cannot be worked with.
    case unfit(QEMUVersion)
    case system(SystemError)

    /// What the kernel refuses is an error of this kind.
    static func wrapping<R>(_ body: () throws(SystemError) -> R) throws(QMPError) -> R {
        do throws(SystemError) { return try body() } catch { throw .system(error) }
    }

    package var description: String {
        switch self {
        case .absent(let path): "nobody answers at \(path)"
        case .closed(let what): "it closed its QMP socket instead of \(what)"
        case .garbled(let what): "it says what is no QMP instead of \(what)"
        case .refused(let command, let reason): "it refuses \(command): \(reason)"
        case .late(let what): "it is silent: \(what) was waited for"
        case .badState(let reason): "the state it saved \(reason)"
        case .unfit(let version):
            "it is QEMU \(version), which ends itself when its log of writes is switched twice"
        case .system(let error): error.description
        }
    }
}

/// The client's half of QMP, without a socket: bytes in, outcomes out.
///
/// A greeting, `qmp_capabilities`, then commands, which are answered in their order; events come in between and are passed
/// over. Anything else ends the connection.
package struct QMPClient {
    /// The longest line that is taken, in bytes: more than any answer to these commands.
    package static let longestLine = 64 << 10

    package enum Outcome: Equatable, Sendable {
        case greeted(QEMUVersion)
        case done(QMPCommand, QMPReturn)
        case refused(QMPCommand, String)
    }

    /// QEMU's version, once it has greeted.
    package private(set) var version: QEMUVersion?
    /// Commands that are not answered yet, oldest first.
    package private(set) var outstanding: [QMPCommand] = []
    private var oldest: UInt64 = 1
    private var line: [UInt8] = []

    package init() {}

    /// In words: what comes next from QEMU.
    package var expected: String {
        guard version != nil else { return "its greeting" }
        return outstanding.first.map { "an answer to \($0)" } ?? "nothing"
    }

    /// The bytes of a command, which counts as sent.
    package mutating func send(_ command: QMPCommand) -> [UInt8] {
        defer { outstanding.append(command) }
        return command.line(id: oldest + UInt64(outstanding.count))
    }

    /// Takes what came, in pieces of any size.
    package mutating func receive(_ bytes: some Collection<UInt8>, _ body: (Outcome) -> Void) throws(QMPError)
    {
        for byte in bytes {
            if byte != 0x0A {
                guard line.count < Self.longestLine else { throw .garbled(expected) }
                line.append(byte)
                continue
            }
            defer { line.removeAll(keepingCapacity: true) }
            // A line may be empty but for its carriage return.
            guard line.contains(where: { $0 > 0x20 }) else { continue }
            if let outcome = try judge(QMPMessage(line)) { body(outcome) }
        }
    }

    private mutating func judge(_ message: QMPMessage?) throws(QMPError) -> Outcome? {
        switch message {
        case .greeting(let version) where self.version == nil:
            self.version = version
            return .greeted(version)
        case _ where version == nil: throw .garbled(expected)
        case .event: return nil
        case .success(id: oldest, let result) where !outstanding.isEmpty: return .done(answered(), result)
        case .failure(id: oldest, let reason) where !outstanding.isEmpty: return .refused(answered(), reason)
        default: throw .garbled(expected)
        }
    }

    private mutating func answered() -> QMPCommand {
        oldest += 1
        return outstanding.removeFirst()
    }
}
