import Checkpoint
import Glibc
import Synchronization
import SystemSupport

@testable import Transport

/// Two ends of a connection over loopback: a standby's on a thread, and a primary's, which the test moves on.
final class Meeting {
    /// What the standby's end came to.
    typealias Outcome = Result<StandbyConnection, ConnectionError>

    let primary: PrimaryConnection
    private(set) var lost: ConnectionError?
    private(set) var messages: [Message] = []
    private let outcome = Monitor(Outcome?.none)

    /// - Parameter serve: what the standby's end does once it has a peer, on its thread.
    init(
        primary: LinkSecurity,
        standby: LinkSecurity,
        serve: @escaping @Sendable (StandbyConnection) throws(ConnectionError) -> Void = Meeting.beat
    ) throws {
        Signals.ignore([SIGPIPE])
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let address = try TCP.localAddress(of: listener)
        self.primary = try PrimaryConnection(connectingTo: address, security: primary)
        let outcome = outcome
        try WorkerThread("standby") {
            do throws(ConnectionError) {
                guard let socket = try? TCP.accept(listener) else { throw .closed }
                let connection = try StandbyConnection(
                    socket,
                    security: standby,
                    until: Clock.monotonic + 5_000_000_000
                )
                try serve(connection)
                outcome.signal { $0 = .success(connection) }
            } catch {
                outcome.signal { $0 = .failure(error) }
            }
        }.detach()
    }

    static let beat: @Sendable (StandbyConnection) throws(ConnectionError) -> Void = {
        connection throws(ConnectionError) in
        try connection.send(.heartbeat(Heartbeat(number: 1, sentAt: Instant(nanoseconds: 1))), session: 7)
    }

    /// Moves the primary's end on until `condition`, its loss, or ten seconds.
    func pump(until condition: (Meeting) -> Bool) {
        let deadline = Clock.monotonic + 10_000_000_000
        while lost == nil, !condition(self), Clock.monotonic < deadline {
            let writable = primary.wantsToWrite
            guard Poll.wait(primary.descriptor, writable: writable, milliseconds: 50) else { continue }
            do throws(ConnectionError) {
                if primary.isConnected {
                    try primary.receive { message, _ in messages.append(message) }
                    try primary.flush()
                } else {
                    try primary.finishConnecting()
                }
            } catch {
                lost = error
            }
        }
    }

    /// What became of the standby's end, within ten seconds.
    var standby: Outcome {
        outcome.wait(until: Clock.monotonic + 10_000_000_000) { $0 } ?? .failure(.closed)
    }

    /// The standby's words, if it refused.
    var refusal: String {
        if case .failure(let error) = standby { return error.description }
        return ""
    }
}
