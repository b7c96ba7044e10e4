import Glibc
import SystemSupport

/// Lines to and from a process that was started to help. Used by one thread.
final class LineChannel {
    private let socket: Descriptor
    /// Who is at the other end.
    private let name: String
    private var read: [UInt8] = []

    init(_ socket: Descriptor, to name: String) {
        self.socket = socket
        self.name = name
    }

    /// The other end reads the end.
    func close() { socket.shutDown() }

    /// Sends a line.
    func say(_ line: String) throws { try UnixSocket.send(Array((line + "\n").utf8), over: socket) }

    /// The next line, without its end; nil at the end of everything.
    func hear(seconds: UInt64) throws -> String? {
        let deadline = Clock.monotonic + seconds * 1_000_000_000
        while true {
            if let end = read.firstIndex(of: 10) {
                let line = String(decoding: read[..<end], as: UTF8.self)
                read.removeSubrange(...end)
                return line
            }
            guard socket.waitReadable(until: deadline) else {
                throw BenchError("\(name) has said nothing for \(seconds) s")
            }
            guard let more = try UnixSocket.receive(from: socket, capacity: 1 << 16), !more.bytes.isEmpty
            else {
                return nil
            }
            read += more.bytes
        }
    }

    /// The next line's words, of which the first is `word`.
    func hear(_ word: String, seconds: UInt64) throws -> [Substring] {
        guard let line = try hear(seconds: seconds) else { throw BenchError("\(name) has ended") }
        let words = line.split(separator: " ")
        guard words.first.map(String.init) == word else { throw BenchError("\(name): \(line)") }
        return Array(words.dropFirst())
    }
}
