import Glibc
import SystemSupport

/// A client of an embedded guest, which has it count.
final class CountingClient {
    private let lines: LineChannel

    init(to address: SocketAddress) throws {
        lines = LineChannel(try TCP.connect(to: address, milliseconds: 5000), to: "the guest")
    }

    /// Asks for the next number, and does not wait for it.
    func ask() throws { try lines.say("INCR count\r") }

    /// The guest's next number.
    func count() throws -> Int {
        try ask()
        guard let line = try lines.hear(seconds: 30), let number = Self.number(line) else {
            throw BenchError("the guest does not count")
        }
        return number
    }

    /// A number that has come and was not waited for.
    var answered: Int? { ((try? lines.hear(seconds: 0)) ?? nil).flatMap { Self.number($0) } }

    /// An integer of the Redis protocol, without its LF.
    static func number(_ line: String) -> Int? {
        guard line.hasPrefix(":"), line.hasSuffix("\r") else { return nil }
        return Int(line.dropFirst().dropLast())
    }

    /// Has the guest keep about that many bytes.
    func fill(_ bytes: Int) throws {
        // Below what it takes as one line.
        let value = String(repeating: "remusd", count: 10_000)
        for key in 0..<bytes / value.utf8.count {
            try lines.say("SET \(key) \(value)\r")
            guard try lines.hear(seconds: 30) == "+OK\r" else { throw BenchError("the guest keeps nothing") }
        }
    }
}
