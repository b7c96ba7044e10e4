import Checkpoint
import Glibc
import SystemSupport

/// The standby's end of a connection: one session thread reads, any thread may shut it down.
///
/// Waits are bounded: between frames by the caller's patience, inside a frame by `stallLimit`.
package final class StandbyConnection: Sendable {
    /// Longest wait for the rest of a frame that has begun, in milliseconds.
    private static let stallLimit: Int32 = 1000

    private let socket: Descriptor
    /// Where the peer is, for logs.
    package let peer: String

    /// Takes over an accepted socket.
    package init(_ socket: Descriptor) throws(SystemError) {
        self.socket = socket
        peer = (try? TCP.remoteAddress(of: socket).description) ?? "unknown"
        try TCP.setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        try TCP.setOption(socket, SOL_SOCKET, SO_RCVBUF, 4 << 20)
    }

    /// Speaks over a stream socket that is connected, to another thread of this process, which stands for `peer`.
    package init(over socket: Descriptor, peer: String) throws(SystemError) {
        self.socket = socket
        self.peer = peer
        try TCP.setOption(socket, SOL_SOCKET, SO_RCVBUF, 4 << 20)
    }

    /// For poll.
    package var descriptor: Int32 { socket.raw }

    /// Ends the connection for whoever reads or writes it.
    package func shutDown() { socket.shutDown() }

    /// True once the peer has closed its end, whatever it sent before.
    package var hasEnded: Bool { Poll.peerHasClosed(socket.raw) }

    /// Waits for the next frame's first byte, at most `milliseconds`.
    /// - Returns: false if none came; true also if the connection has ended, which the next read tells.
    package func waitForFrame(milliseconds: Int32) -> Bool {
        Poll.wait(socket.raw, milliseconds: milliseconds)
    }

    /// Fills `target` with the next bytes.
    package func read(into target: UnsafeMutableRawBufferPointer) throws(ConnectionError) {
        var rest = target
        while !rest.isEmpty {
            let count = try progress(writable: false) { () throws(SystemError) in
                try socket.receiveNow(into: rest)
            }
            if count == 0 { throw .closed }
            rest = UnsafeMutableRawBufferPointer(rebasing: rest[(count ?? 0)...])
        }
    }

    /// Writes a message.
    package func send(_ message: Message, session: UInt64) throws(ConnectionError) {
        var failure: ConnectionError?
        message.withFrame(session: session) { frame in
            do throws(ConnectionError) {
                var rest = frame
                while !rest.isEmpty {
                    let count = try progress(writable: true) { () throws(SystemError) in
                        try socket.sendNow(rest)
                    }
                    rest = UnsafeRawBufferPointer(rebasing: rest[(count ?? 0)...])
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// One step of reading or writing; where nothing moves, waits until something can, at most `stallLimit`.
    private func progress(
        writable: Bool,
        _ step: () throws(SystemError) -> Int?
    ) throws(ConnectionError) -> Int? {
        do throws(SystemError) {
            if let count = try step() { return count }
        } catch {
            throw .system(error)
        }
        guard Poll.wait(socket.raw, readable: !writable, writable: writable, milliseconds: Self.stallLimit)
        else { throw .stalled(peer) }
        return nil
    }
}
