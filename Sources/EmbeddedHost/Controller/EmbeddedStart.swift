import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// A guest's process that was started before anybody permitted it: it waits, and has no part in the guest yet.
package final class EmbeddedStart: BegunStart {
    /// The waiting process.
    package let pid: Int32
    private let child: Mutex<WaitingChild?>

    init(_ child: WaitingChild) {
        pid = child.pid
        self.child = Mutex(child)
    }

    deinit { abandon() }

    /// The process, for whoever goes on with it; nil if somebody has, or it was given up.
    func take() -> WaitingChild? {
        child.withLock { child in
            defer { child = nil }
            return child
        }
    }

    package func abandon() { take()?.end() }
}

/// A child that will be a guest: started, with the image's memory file among its descriptors, and waiting for the one word that lets
/// it use that. Without the word it ends when its channel does, thus with its parent, however that ends.
struct WaitingChild: Sendable {
    /// Why a child that was released is no guest.
    struct Failure: Error {
        let reason: String
    }

    /// The word.
    static let release = UInt8(ascii: "g")
    /// How long a guest may take to say that it serves.
    private static let startLimit: UInt64 = 10_000_000_000

    let pid: Int32
    /// The word goes out, and one line comes back.
    let channel: Descriptor
    /// What it reads its registers from, once it has the word.
    let registers: Mapping

    /// Lets it take the image, and waits until it serves.
    /// - Returns: where it is reached.
    func release() throws(Failure) -> String {
        // One that has ended, or is about to, has said why.
        try? UnixSocket.send([Self.release], over: channel)
        let text = try line()
        guard text.hasPrefix("ready ") else {
            throw Failure(
                reason: text.hasPrefix("error ") ? String(text.dropFirst(6)) : "it said: \(text)"
            )
        }
        ChildProcess.reapWhenEnded(pid)
        return String(text.dropFirst(6))
    }

    /// Ends it, whatever it does.
    func end() {
        kill(pid, SIGKILL)
        ChildProcess.reap(pid)
    }

    private func line() throws(Failure) -> String {
        let deadline = Clock.monotonic + Self.startLimit
        var line: [UInt8] = []
        while line.count < 4096 {
            guard channel.waitReadable(until: deadline) else {
                throw Failure(
                    reason: "it did not say that it is ready within \(Self.startLimit / 1_000_000_000) s"
                )
            }
            var bytes = [UInt8](repeating: 0, count: 512)
            let count = recv(channel.raw, &bytes, bytes.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure(reason: "it ended before it was ready") }
            line += bytes[..<count]
            if let end = line.firstIndex(of: UInt8(ascii: "\n")) {
                return String(decoding: line[..<end], as: UTF8.self)
            }
        }
        throw Failure(reason: "it said: \(String(decoding: line.prefix(200), as: UTF8.self))")
    }
}
