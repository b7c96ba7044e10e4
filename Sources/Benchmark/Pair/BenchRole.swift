import Daemon
import Glibc

/// What this program is when it was started by itself, to stand at the other end of something.
package enum BenchRole {
    /// The word that comes first on such a command line.
    static let word = "role"

    /// Plays the role that `arguments` name, to its end.
    /// - Returns: the exit code; nil if they name none: a person has started the program.
    package static func run(_ arguments: [String]) -> Int32? {
        guard arguments.first == word else { return nil }
        do {
            try play(Array(arguments.dropFirst()))
            return 0
        } catch {
            var line = "\(arguments.joined(separator: " ")): \(error)\n"
            line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
            return 1
        }
    }

    private static func play(_ arguments: [String]) throws {
        if arguments.count == 3, arguments[0] == FailoverRole.word {
            return try FailoverRole.run(program: arguments[1], in: arguments[2])
        }
        guard arguments.count == 4, let processor = Int(arguments[1]),
            let link = LinkKind(rawValue: arguments[2])
        else { throw BenchError("no such role") }
        switch arguments[0] {
        case StandbyRole.word:
            try StandbyRole.run(processor: processor, link, Paths(runtime: arguments[3], state: arguments[3]))
        case FootprintRole.word: try FootprintRole.run(link, countedIn: arguments[3])
        case SinkRole.word: try SinkRole.run(processor: processor)
        default: throw BenchError("no such role")
        }
    }
}
