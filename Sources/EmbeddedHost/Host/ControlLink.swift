import Glibc
import SystemSupport

/// The guest's end of one connection on the control socket. Sends from any thread, and never waits: a peer that does
/// not read its replies is disconnected.
final class ControlLink: Sendable {
    /// Does not block.
    let socket: Descriptor
    private let closed = Monitor(false)

    init(_ socket: Descriptor) { self.socket = socket }

    var isClosed: Bool { closed.withLock { $0 } }

    /// Ends the connection; the descriptor stays open until the last reference goes.
    func close() {
        closed.withLock {
            $0 = true
            shutdown(socket.raw, Int32(SHUT_RDWR))
        }
    }

    /// Sends a reply whose payload, `reply.length` bytes (at most 512), `fill` writes. Allocates nothing.
    func send(_ reply: ControlMessage.Reply, fill: (UnsafeMutableRawPointer) -> Void = { _ in }) {
        closed.withLock { closed in
            guard !closed else { return }
            withUnsafeTemporaryAllocation(byteCount: ControlMessage.size + 512, alignment: 8) { bytes in
                guard let base = bytes.baseAddress else { return }
                precondition(reply.length <= 512)
                reply.encode(to: base)
                fill(base + ControlMessage.size)
                let length = ControlMessage.size + reply.length
                if Glibc.send(socket.raw, base, length, Int32(MSG_NOSIGNAL)) != length {
                    closed = true
                    shutdown(socket.raw, Int32(SHUT_RDWR))
                }
            }
        }
    }

    /// Sends a reply with a payload (`reply.length` bytes) and descriptors.
    func send(_ reply: ControlMessage.Reply, payload: [UInt8], descriptors: [Descriptor] = []) {
        var bytes = [UInt8](repeating: 0, count: ControlMessage.size)
        bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { reply.encode(to: base) } }
        bytes += payload
        closed.withLock { closed in
            guard !closed else { return }
            do {
                try UnixSocket.send(bytes, descriptors: descriptors, over: socket)
            } catch {
                closed = true
                shutdown(socket.raw, Int32(SHUT_RDWR))
            }
        }
    }
}
