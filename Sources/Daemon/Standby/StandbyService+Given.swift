import Checkpoint
import Synchronization
import SystemSupport
import Transport

/// A standby for a program that has both ends in its hands: connections that it made itself, and what became of them.
extension StandbyService {
    /// Serves a stream socket that is connected already, on a thread of its own, like one that was accepted. In plaintext.
    /// - Parameter peer: who is at the other end, for logs.
    package func serve(_ socket: Descriptor, peer: String) throws {
        let id = nextConnection.add(1, ordering: .relaxed).oldValue
        let connection = try StandbyConnection(over: socket, peer: peer)
        guard door.admit(socket, id: id, from: peer) else {
            throw SystemError("serve \(peer) beside so many others", code: 11)
        }
        let deadline = Clock.monotonic + options.helloLimit.nanoseconds
        try WorkerThread("session-\(id)") { [self] in
            StandbySession(connection: connection, id: id, service: self).run(deadline)
            door.left(id)
        }.detach()
    }

    /// The committed image of a guest, which its session goes on to write; nil if there is none.
    package func image(of guest: String) -> StandbyImage? {
        self.guest(named: guest)?.state.withLock { $0.image?.image }
    }
}
