import Glibc
import SystemSupport

/// A QMP client on a unix socket: greets by itself, reads what is there, never waits but where it says so.
///
/// The descriptor belongs to one connection at a time: QEMU serves one client a socket, and others wait in its queue.
final class QMPConnection {
    /// How long a connection may take where QEMU's queue is full, and a command where it does not read.
    private static let sendLimit = 100

    let socket: Descriptor
    private var client = QMPClient()
    private var outcomes: [QMPClient.Outcome] = []
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 8)

    init(to path: String) throws(QMPError) {
        do throws(SystemError) {
            socket = try UnixSocket.connect(to: path, milliseconds: Self.sendLimit)
        } catch {
            throw error.code == ENOENT || error.code == ECONNREFUSED ? QMPError.absent(path) : .system(error)
        }
    }

    deinit { buffer.deallocate() }

    var version: QEMUVersion? { client.version }
    var expected: String { client.expected }
    func isOutstanding(_ command: QMPCommand) -> Bool { client.outstanding.contains(command) }

    /// Sends a command, with a descriptor that QEMU is to have.
    func send(_ command: QMPCommand, _ descriptor: Descriptor? = nil) throws(QMPError) {
        let line = client.send(command)
        do throws(SystemError) {
            try UnixSocket.send(line, descriptors: descriptor.map { [$0] } ?? [], over: socket)
        } catch {
            throw error.code == EPIPE || error.code == ECONNRESET
                ? QMPError.closed("taking \(command)") : .system(error)
        }
    }

    /// Takes what is there, and hands over each outcome.
    func advance(_ body: (QMPClient.Outcome) throws(QMPError) -> Void) throws(QMPError) {
        var end: QMPError?
        do throws(QMPError) {
            while let count = try receive() {
                guard count > 0 else { throw .closed(client.expected) }
                try client.receive(buffer[..<count]) { outcomes.append($0) }
            }
        } catch {
            end = error
        }
        // What was answered before the end counts.
        let taken = outcomes
        outcomes.removeAll(keepingCapacity: true)
        for outcome in taken { try body(outcome) }
        if let end { throw end }
    }

    private func receive() throws(QMPError) -> Int? {
        do throws(SystemError) {
            return try socket.receiveNow(into: buffer)
        } catch {
            throw error.code == ECONNRESET ? QMPError.closed(client.expected) : .system(error)
        }
    }
}
