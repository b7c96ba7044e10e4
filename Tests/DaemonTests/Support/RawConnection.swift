import Daemon
import Glibc
import SystemSupport

/// Bytes to and from a control socket, for what a well-behaved client never sends.
struct RawConnection {
    let socket: Descriptor

    init(_ path: String) throws { socket = try UnixSocket.connect(to: path) }

    func send(_ text: String) throws { try UnixSocket.send(Array(text.utf8), over: socket) }

    /// Everything until the other side closes.
    func readToEnd() -> String {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(socket.raw, &chunk, chunk.count)
            guard count > 0 else { return String(decoding: all, as: UTF8.self) }
            all.append(contentsOf: chunk[..<count])
        }
    }
}
