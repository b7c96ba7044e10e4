import Glibc
import SystemSupport

/// One TCP connection to the guest, with requests sent ahead and answers taken as they come.
final class DemoConnection {
    private let socket: Descriptor
    private var reader = RESPReader()
    private var outgoing: [UInt8] = []
    private var sent = 0
    private var incoming = [UInt8](repeating: 0, count: 1 << 16)

    /// Connects, or gives nil where nobody listens.
    init?(to address: SocketAddress) {
        guard let socket = try? TCP.connect(to: address, milliseconds: 500) else { return nil }
        // Whoever tries a local port that nobody listens on, often enough, is given that very port as his own and has
        // connected to himself (RFC 9293, simultaneous open).
        if let mine = try? TCP.localAddress(of: socket), mine == address { return nil }
        guard (try? socket.setNonBlocking(true)) != nil else { return nil }
        self.socket = socket
    }

    /// Whether everything handed over was written.
    var isDrained: Bool { sent == outgoing.count }

    /// Adds a request; it leaves with the next `exchange`.
    func add(_ parts: [String]) {
        if isDrained {
            outgoing.removeAll(keepingCapacity: true)
            sent = 0
        }
        RESPRequest.append(parts, to: &outgoing)
    }

    /// Writes what can be written, waits for answers for at most `milliseconds`, and hands over those that are whole.
    /// - Returns: false once the connection is gone.
    func exchange(milliseconds: Int32, _ take: (RESPReply) -> Void) throws(RESPError) -> Bool {
        guard flush() else { return false }
        guard Poll.wait(socket.raw, writable: !isDrained, milliseconds: milliseconds) else { return true }
        guard flush() else { return false }
        let received: Int?
        do {
            received = try incoming.withUnsafeMutableBytes { bytes throws(SystemError) in
                try socket.receiveNow(into: bytes)
            }
        } catch {
            return false
        }
        guard let count = received else { return true }
        guard count > 0 else { return false }
        incoming.withUnsafeBytes { reader.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        while let reply = try reader.next() { take(reply) }
        return true
    }

    private func flush() -> Bool {
        while !isDrained {
            do {
                let count = try outgoing.withUnsafeBytes { bytes throws(SystemError) in
                    try socket.sendNow(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
                }
                guard let count else { return true }
                sent += count
            } catch {
                return false
            }
        }
        return true
    }
}
