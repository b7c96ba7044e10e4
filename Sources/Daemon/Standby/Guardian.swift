import Glibc
import Logging
import SystemSupport

/// Holds the standby's memory files, so that a daemon's death loses no image (design, "guardian").
///
/// A process of its own, in a session of its own: what ends the daemon does not end it. It ends by itself when it holds
/// nothing and no daemon is connected.
package final class Guardian {
    private let listener: Descriptor
    private let path: String
    private var held: [String: [Descriptor]] = [:]
    private var clients: [Descriptor] = []
    private let log = Logger(label: "guardian")

    /// Listens at `path`, replacing a dead guardian's socket.
    package init(path: String) throws(SystemError) {
        self.path = path
        listener = try UnixSocket.listen(at: path)
        try listener.setNonBlocking(true)
    }

    /// Serves until there is nothing to hold for anybody.
    /// - Parameter started: called once, when requests are served.
    package func run(started: () -> Void) {
        started()
        var patience = 100
        while true {
            var entries = ([listener] + clients).map { Poll.Entry($0.raw) }
            Poll.wait(&entries, milliseconds: clients.isEmpty ? 100 : -1)
            if entries[0].isReady, let client = try? UnixSocket.accept(listener) {
                clients.append(client)
            }
            var gone: [Int32] = []
            for entry in entries.dropFirst() where entry.isReady {
                guard let client = clients.first(where: { $0.raw == entry.raw }) else { continue }
                if !serve(client) { gone.append(entry.raw) }
            }
            clients.removeAll { gone.contains($0.raw) }
            // A starting daemon has ten seconds to come.
            patience = clients.isEmpty && held.isEmpty ? patience - 1 : 100
            if patience <= 0 {
                unlink(path)
                return
            }
        }
    }

    /// Answers one request; false if the client is gone or talks nonsense.
    private func serve(_ client: Descriptor) -> Bool {
        guard
            let (bytes, descriptors) = try? UnixSocket.receive(
                from: client,
                capacity: 2 + GuardianOperation.keyLimit
            ),
            bytes.count >= 2, let operation = GuardianOperation(rawValue: bytes[0]),
            bytes.count == 2 + Int(bytes[1])
        else { return false }
        let key = String(decoding: bytes[2...], as: UTF8.self)
        do {
            switch operation {
            case .hold:
                guard !key.isEmpty, !descriptors.isEmpty else { return false }
                held[key] = descriptors
                log.debug("holding", metadata: ["guest": "\(key)"])
                try UnixSocket.send([GuardianOperation.done], over: client)
            case .drop:
                held[key] = nil
                try UnixSocket.send([GuardianOperation.done], over: client)
            case .take:
                let found = held[key]
                let answer = found == nil ? GuardianOperation.unknown : GuardianOperation.done
                try UnixSocket.send([answer], descriptors: found ?? [], over: client)
            case .list:
                var answer: [UInt8] = []
                for key in held.keys.sorted() { answer += [UInt8(key.utf8.count)] + Array(key.utf8) }
                try UnixSocket.send(answer + [0], over: client)
            case .identify:
                let pid = UInt32(bitPattern: getpid())
                try UnixSocket.send((0..<4).map { UInt8(truncatingIfNeeded: pid >> (8 * $0)) }, over: client)
            }
            return true
        } catch {
            return false
        }
    }
}
