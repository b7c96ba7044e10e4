import CKernels
import Checkpoint
import Glibc
import SystemSupport

/// The primary's end of a connection, never blocking: control messages go between data frames, an epoch's bytes go from
/// where they lie. Used by one thread. Allocates nothing after `init` but for a hello.
package final class PrimaryConnection {
    private static let chunk = 256 << 10
    /// The first frame of what was handed over is short: the standby is woken while the rest is on its way. And an epoch's last: when it
    /// has come, little of it is left to read and check.
    private static let shortChunk = 32 << 10
    /// Reads at once, at most, before the caller has its turn: a peer that never pauses must not keep it.
    private static let rounds = 32
    /// Frames encoded at once, at most, for the same reason: a socket may take them faster than they are made.
    private static let encodedFrames = 8

    private let socket: Descriptor
    /// Nil for a socket that was connected already.
    private let address: SocketAddress?
    private let security: LinkSecurity
    /// Once the socket is connected.
    private var channel: (any ByteChannel)?
    private var parser = FrameParser()
    /// Control frames that wait for their turn.
    private let control: UnsafeMutableRawBufferPointer
    private var controlStart = 0, controlEnd = 0
    /// A data frame being written: its header, then its body.
    private let header: UnsafeMutableRawBufferPointer
    private var headerLeft = 0
    private var body = UnsafeRawBufferPointer(start: nil, count: 0)
    /// The rest of the data that was handed over.
    private var data = UnsafeRawBufferPointer(start: nil, count: 0)
    private var dataEpoch: UInt64 = 0
    private var endsEpoch = false
    private var isFirst = true
    /// Encodes what is sent, if the standby takes that; set before there is any data.
    package var encoder: PageEncoder?
    private var session: UInt64 = 0
    /// The running epoch's bytes so far on this connection.
    private var epochLength: UInt64 = 0
    private var epochChecksum: UInt32 = 0
    /// Bytes of data frames written to the socket.
    package private(set) var dataSent: UInt64 = 0
    /// Bytes written to the socket in all, and how many of them there were when the last of data was.
    private var written: UInt64 = 0, dataEnd: UInt64 = 0
    private var delivered: UInt64 = 0
    /// Bytes of the stream that these stand for, as frames were begun.
    package private(set) var streamSent: UInt64 = 0
    package private(set) var isConnected = false
    /// The last `receive` stopped where more may wait that poll(2) does not see: call it again without waiting.
    package private(set) var mayHaveMore = false

    /// Begins to connect; `finishConnecting` goes on whenever poll says that it can.
    package convenience init(
        connectingTo address: SocketAddress,
        security: LinkSecurity = .plaintext
    ) throws(SystemError) {
        self.init(try TCP.startConnecting(to: address), address, security)
    }

    /// Speaks over a stream socket that is connected, to another thread of this process.
    package convenience init(over socket: Descriptor) { self.init(socket, nil, .plaintext) }

    /// Speaks over a channel whose handshake is done.
    convenience init(over channel: any ByteChannel) {
        self.init(channel.socket, nil, .plaintext)
        self.channel = channel
        isConnected = true
    }

    private init(_ socket: Descriptor, _ address: SocketAddress?, _ security: LinkSecurity) {
        self.socket = socket
        self.address = address
        self.security = security
        control = .allocate(byteCount: 2 * Int(FrameHeader.controlLimit), alignment: 16)
        header = .allocate(byteCount: FrameHeader.size, alignment: 16)
    }

    deinit {
        control.deallocate()
        header.deallocate()
    }

    /// For poll.
    package var descriptor: Int32 { socket.raw }
    /// Whether there is something to write, or a connection to finish.
    package var wantsToWrite: Bool {
        guard let channel else { return true }
        return channel.owesOutput || isConnected && hasOutput
    }
    /// The paired host at the other end; nil for plaintext.
    package var peerHost: String? { channel?.peerHost }
    /// `plaintext`, or protocol and cipher.
    package var transport: String? { isConnected ? channel?.transport : nil }
    private var hasOutput: Bool {
        controlStart < controlEnd || headerLeft > 0 || !body.isEmpty || !data.isEmpty
    }
    /// Whether all data that was handed over is with the kernel.
    package var isDrained: Bool { headerLeft == 0 && body.isEmpty && data.isEmpty }

    /// How far data has come, in bytes of everything written: with TCP as far as the peer's kernel has acknowledged, else with ours.
    /// Rises only while data moves; what is written between and behind it does not count. Under TLS a little less than is true, until
    /// all has come.
    package func dataDelivered() -> UInt64 {
        if delivered < dataEnd {
            let waiting = UInt64(TCP.unacknowledgedBytes(socket))
            delivered = max(delivered, min(written - min(waiting, written), dataEnd))
        }
        return delivered
    }

    /// Goes on with connecting: called when the socket is writable for the first time, and from then on whenever it is
    /// ready, until `isConnected`.
    package func finishConnecting() throws(ConnectionError) {
        if channel == nil {
            do throws(SystemError) {
                if let address { try TCP.finishConnecting(socket, to: address) }
                try TCP.makeSendRoom(socket)
            } catch {
                throw .system(error)
            }
            channel = try security.channel(over: socket, accepting: false)
        }
        isConnected = try channel?.handshake() ?? false
    }

    /// Queues a message; `session` goes into its header, and those of data that follows.
    package func queue(_ message: Message, session: UInt64) throws(ConnectionError) {
        self.session = session
        let fits = message.withFrame(session: session) { frame in
            if controlStart == controlEnd {
                controlStart = 0
                controlEnd = 0
            }
            guard control.count - controlEnd >= frame.count else { return false }
            UnsafeMutableRawBufferPointer(rebasing: control[controlEnd...]).copyMemory(from: frame)
            controlEnd += frame.count
            return true
        }
        // A peer that reads nothing while we beat: far beyond every deadline.
        guard fits else { throw .closed }
    }

    /// Hands over bytes of `epoch`, which stay where they are until `isDrained`. With `endsEpoch`, the epoch's length
    /// and checksum follow them.
    /// - Parameter records: where PAGE_DATA records begin in them, ascending: pages of these can be encoded.
    package func send(
        _ bytes: UnsafeRawBufferPointer,
        epoch: UInt64,
        endsEpoch: Bool,
        records: UnsafeBufferPointer<Int> = UnsafeBufferPointer(start: nil, count: 0)
    ) {
        precondition(isDrained, "one piece of data at a time")
        data = bytes
        encoder?.begin(bytes, records: records)
        dataEpoch = epoch
        isFirst = true
        self.endsEpoch = endsEpoch
        if bytes.isEmpty, endsEpoch { finishEpoch() }
    }

    private func finishEpoch() {
        endsEpoch = false
        let end = EpochEnd(length: epochLength, checksum: epochChecksum)
        epochLength = 0
        epochChecksum = 0
        // There is always room: data is only cut into frames when nothing else waits.
        try? queue(.epochEnd(epoch: dataEpoch, end), session: session)
    }

    /// Writes what the kernel takes.
    package func flush() throws(ConnectionError) {
        guard isConnected else { return }
        var encoded = 0
        while hasOutput {
            // Between two data frames, control messages go first.
            if headerLeft == 0, body.isEmpty {
                if controlStart < controlEnd {
                    let pending = UnsafeRawBufferPointer(rebasing: control[controlStart..<controlEnd])
                    guard let count = try write(pending) else { return }
                    controlStart += count
                    written += UInt64(count)
                    continue
                }
                if encoder != nil {
                    guard encoded < Self.encodedFrames else { return }
                    encoded += 1
                }
                beginFrame()
            }
            guard let count = try writeFrame() else { return }
            dataSent += UInt64(count)
            written += UInt64(count)
            dataEnd = written
            let ofHeader = min(count, headerLeft)
            headerLeft -= ofHeader
            body = UnsafeRawBufferPointer(rebasing: body[(count - ofHeader)...])
            if headerLeft == 0, body.isEmpty, data.isEmpty, endsEpoch { finishEpoch() }
        }
    }

    /// Bytes of the stream in the next frame, if it is not encoded.
    private var nextChunk: Int {
        if isFirst { return min(Self.shortChunk, data.count) }
        let isNearEnd = endsEpoch && data.count <= Self.chunk + Self.shortChunk
        guard isNearEnd else { return min(Self.chunk, data.count) }
        return data.count > 2 * Self.shortChunk ? data.count - Self.shortChunk : data.count
    }

    private func beginFrame() {
        var count = nextChunk
        isFirst = false
        if let encoder {
            (body, count) = encoder.next()
        } else {
            body = UnsafeRawBufferPointer(rebasing: data[..<count])
        }
        epochLength += UInt64(count)
        streamSent += UInt64(count)
        epochChecksum = ckernels_crc32c(epochChecksum, data.baseAddress, count)
        data = UnsafeRawBufferPointer(rebasing: data[count...])
        let type = encoder == nil ? FrameType.data : .encodedData
        FrameHeader(type: type, length: UInt32(body.count), session: session, epoch: dataEpoch)
            .encode(into: header, body: UnsafeRawBufferPointer(start: nil, count: 0))
        headerLeft = FrameHeader.size
    }

    /// Writes what is left of a data frame's header and body in one call.
    private func writeFrame() throws(ConnectionError) -> Int? {
        let rest = UnsafeMutableRawBufferPointer(rebasing: header[(FrameHeader.size - headerLeft)...])
        return try channel?.sendNow(UnsafeRawBufferPointer(rest), body)
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(ConnectionError) -> Int? {
        try channel?.sendNow(bytes)
    }

    /// Reads what is there, up to a bound (`mayHaveMore`), and hands out every whole message.
    package func receive(_ handle: (_ message: Message, _ session: UInt64) -> Void) throws(ConnectionError) {
        mayHaveMore = false
        guard let channel else { return }
        for _ in 0..<Self.rounds {
            guard let count = try channel.receiveNow(into: parser.free) else { return }
            do throws(FrameError) {
                try parser.received(count, handle)
            } catch {
                throw .frame(error)
            }
            // What TLS has read already, poll(2) does not see.
            guard channel.hasBuffered else { return }
        }
        mayHaveMore = true
    }
}
