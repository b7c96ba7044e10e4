import CLinux
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

    /// Ends the connection for whoever reads or writes it.
    package func shutDown() { shutdown(socket.raw, Int32(SHUT_RDWR)) }

    /// Waits for the next frame's first byte, at most `milliseconds`.
    /// - Returns: false if none came; true also if the connection has ended, which the next read tells.
    package func waitForFrame(milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) != 0
    }

    /// Fills `target` with the next bytes.
    package func read(into target: UnsafeMutableRawBufferPointer) throws(ConnectionError) {
        var done = 0
        while done < target.count {
            let count = recv(
                socket.raw,
                target.baseAddress?.advanced(by: done),
                target.count - done,
                Int32(MSG_DONTWAIT)
            )
            if count > 0 {
                done += count
            } else if count == 0 {
                throw .closed
            } else {
                try wait(Int16(POLLIN), "read from \(peer)")
            }
        }
    }

    /// Writes a message.
    package func send(_ message: Message, session: UInt64) throws(ConnectionError) {
        var failure: ConnectionError?
        message.withFrame(session: session) { frame in
            var done = 0
            while done < frame.count {
                let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
                let count = Glibc.send(
                    socket.raw,
                    frame.baseAddress?.advanced(by: done),
                    frame.count - done,
                    flags
                )
                if count > 0 {
                    done += count
                    continue
                }
                do throws(ConnectionError) {
                    try wait(Int16(POLLOUT), "write to \(peer)")
                } catch {
                    failure = error
                    return
                }
            }
        }
        if let failure { throw failure }
    }

    /// After a call that would block or was interrupted: waits for `events`; anything else is thrown.
    private func wait(_ events: Int16, _ operation: String) throws(ConnectionError) {
        let code = errno
        if code == EINTR { return }
        guard code == EAGAIN else { throw .system(SystemError(operation, code: code)) }
        var entry = pollfd(fd: socket.raw, events: events, revents: 0)
        let ready = poll(&entry, 1, Self.stallLimit)
        if ready == 0 { throw .system(SystemError(operation, code: ETIMEDOUT)) }
        if ready < 0, errno != EINTR { throw .system(SystemError(operation)) }
    }
}
