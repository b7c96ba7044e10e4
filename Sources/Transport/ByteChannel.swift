import Checkpoint
import Glibc
import SystemSupport

/// The bytes between two hosts, as they are or under TLS. Nothing here waits but `waitReadable`, and nothing allocates
/// once the handshake is done, unless it throws.
package protocol ByteChannel: AnyObject, Sendable {
    /// The stream socket below.
    var socket: Descriptor { get }
    /// The paired host whose key the peer has proved to hold; nil for plaintext, and before the handshake is done.
    var peerHost: String? { get }
    /// How it is protected: `plaintext`, or `tls1.3/` and the cipher suite.
    var transport: String { get }
    /// The last step could not go on because the kernel took no more.
    var owesOutput: Bool { get }
    /// Bytes of the peer's may wait here, where poll(2) does not see them.
    var hasBuffered: Bool { get }
    /// Goes on with the handshake.
    /// - Returns: whether it is done.
    func handshake() throws(ConnectionError) -> Bool
    /// Sends two pieces, one after the other, or as much of them as goes now. What was not taken must come again first.
    /// - Returns: the bytes taken of both together, nil if none are taken now.
    func sendNow(
        _ first: UnsafeRawBufferPointer,
        _ second: UnsafeRawBufferPointer
    ) throws(ConnectionError) -> Int?
    /// Reads what is there now.
    /// - Returns: the bytes read, nil if nothing is there now.
    func receiveNow(into target: UnsafeMutableRawBufferPointer) throws(ConnectionError) -> Int?
    /// Waits until the next read gives something, at most `milliseconds`; true also if the connection has ended.
    func waitReadable(milliseconds: Int32) -> Bool
}

extension ByteChannel {
    /// Sends what goes now.
    package func sendNow(_ bytes: UnsafeRawBufferPointer) throws(ConnectionError) -> Int? {
        try sendNow(bytes, UnsafeRawBufferPointer(start: nil, count: 0))
    }
}

/// How a connection is protected.
package enum LinkSecurity: Sendable {
    case plaintext
    case tls(TLSContext)

    /// Protects a socket that is connected.
    /// - Parameter accepting: the peer began.
    package func channel(over socket: Descriptor, accepting: Bool) throws(ConnectionError) -> any ByteChannel
    {
        switch self {
        // Who accepts reads frames that come without a break; who began, answers.
        case .plaintext: PlainChannel(socket, readsAhead: accepting)
        case .tls(let context): try TLSChannel(over: socket, context, accepting: accepting)
        }
    }
}

/// Bytes as they are.
///
/// Unchecked: what was read ahead belongs to the one thread that reads.
final class PlainChannel: ByteChannel, @unchecked Sendable {
    let socket: Descriptor
    let peerHost: String? = nil
    let transport = "plaintext"
    let owesOutput = false
    /// The next frame's header, or its beginning: it comes with the call that reads what is before it, and no other is needed
    /// to find that it is there. No frame is without a body, so there is more to read behind it. Empty for who does not read ahead.
    private let ahead: UnsafeMutableRawBufferPointer
    private var aheadStart = 0, aheadEnd = 0

    init(_ socket: Descriptor, readsAhead: Bool) {
        self.socket = socket
        ahead = .allocate(byteCount: readsAhead ? FrameHeader.size : 0, alignment: 16)
    }

    deinit { ahead.deallocate() }

    var hasBuffered: Bool { aheadStart < aheadEnd }

    func handshake() -> Bool { true }

    func sendNow(
        _ first: UnsafeRawBufferPointer,
        _ second: UnsafeRawBufferPointer
    ) throws(ConnectionError) -> Int? {
        do throws(SystemError) {
            return try second.isEmpty ? socket.sendNow(first) : socket.sendNow(first, second)
        } catch {
            throw .system(error)
        }
    }

    func receiveNow(into target: UnsafeMutableRawBufferPointer) throws(ConnectionError) -> Int? {
        if target.isEmpty { return 0 }
        if hasBuffered { return takeAhead(target) }
        let received: Int?
        do throws(SystemError) {
            received =
                try ahead.isEmpty ? socket.receiveNow(into: target) : socket.receiveNow(into: target, ahead)
        } catch {
            throw .system(error)
        }
        guard let received else { return nil }
        guard received > 0 else { throw .closed }
        (aheadStart, aheadEnd) = (0, max(0, received - target.count))
        return min(received, target.count)
    }

    private func takeAhead(_ target: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(target.count, aheadEnd - aheadStart)
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: ahead[aheadStart..<aheadStart + count]))
        aheadStart += count
        return count
    }

    func waitReadable(milliseconds: Int32) -> Bool {
        hasBuffered || Poll.wait(socket.raw, milliseconds: milliseconds)
    }
}
