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

    /// Activates a guest as `remusd activate` does; nil if none of that name is known.
    package func activate(_ guest: String, _ request: ActivateRequest) -> ActivateReply? {
        self.guest(named: guest)?.activate(request, with: activator)
    }

    /// When anything that made sense last came of a guest's primary, by the boot clock.
    package func lastContact(of guest: String) -> Instant? {
        self.guest(named: guest)?.state.withLock { $0.link.lastContact }
    }

    /// Whether a connection of a guest's primary is served: whatever came on one that is not is dealt with.
    package func isServing(_ guest: String) -> Bool {
        self.guest(named: guest)?.state.withLock { !$0.connections.isEmpty } ?? false
    }

    /// The committed image of a guest, which its session goes on to write; nil if there is none.
    package func image(of guest: String) -> StandbyImage? {
        self.guest(named: guest)?.state.withLock { $0.image?.image }
    }
}
