import Checkpoint
import Logging
import SystemSupport
import Transport

/// An xl that stands by: `remusd protect --peer xl`.
package struct XlPeerOptions: Equatable, Sendable {
    package var host: String
    /// What runs a script on that host: `COMMAND HOST SCRIPT`.
    package var command: String

    package init(host: String, command: String) {
        self.host = host
        self.command = command
    }

    /// Begins to connect. The other end of the connection is a thread of this process, which speaks for xl as a standby
    /// would, and can promise less: an ack says that the epoch is whole on the other host, in xl or in the pipe before it;
    /// not that xl could use it.
    func connect() throws(SystemError) -> PrimaryConnection {
        let (near, far) = try UnixSocket.pairOfStreams()
        let session = XlPeerSession(self, try StandbyConnection(over: far, peer: host))
        try WorkerThread("xl-peer") { session.run() }.detach()
        return PrimaryConnection(over: near)
    }
}

/// One session of a guest with the xl of another host, on a thread of its own.
///
/// Unchecked: made by one thread, then used by its own only.
private final class XlPeerSession: @unchecked Sendable {
    /// Milliseconds: for a hello; for xl to be ready; for xl to be killed; between two heartbeats.
    private static let helloLimit: Int32 = 5000, startLimit = 60_000, endLimit = 15_000, beat = 100

    private let options: XlPeerOptions
    private let connection: StandbyConnection
    private let log = Logger(label: "xl-peer")
    private var number: UInt64 = 0
    private var beats: UInt64 = 0
    private var nextBeat: UInt64 = 0
    /// Pieces that were written.
    private var pieces: UInt64 = 0
    /// An epoch whose pieces are not all acknowledged yet, and how many there were with it.
    private var awaited: (epoch: UInt64, pieces: UInt64)?
    private var hasImage = false
    /// The last word was said.
    private var isOver = false
    /// The rest of what is being written.
    private var unwritten = UnsafeRawBufferPointer(start: nil, count: 0)
    private let piece: UnsafeMutableRawBufferPointer

    init(_ options: XlPeerOptions, _ connection: StandbyConnection) {
        self.options = options
        self.connection = connection
        piece = .allocate(byteCount: 16 + Int(FrameHeader.dataLimit), alignment: 16)
    }

    deinit { piece.deallocate() }

    func run() {
        defer { connection.shutDown() }
        do {
            guard let (hello, session) = try receiveHello() else { return }
            number = session
            let remote = try RemoteXl(command: options.command, host: options.host, guest: hello.guest.name)
            do {
                try serve(hello, remote)
            } catch {
                log.warning("xl on \(options.host): \(error)", metadata: ["guest": "\(hello.guest.name)"])
            }
            // Whatever the reason: an xl whose input ends would start the guest.
            try? end(remote)
        } catch {
            log.warning("xl on \(options.host): \(error)")
        }
    }

    private func receiveHello() throws -> (Hello, session: UInt64)? {
        guard connection.waitForFrame(milliseconds: Self.helloLimit) else { return nil }
        let (header, message) = try receive()
        guard case .hello(let hello)? = message else { return nil }
        return (hello, header.session)
    }

    /// One frame; of data the body, behind its length in a line, in `piece`.
    private func receive() throws -> (FrameHeader, Message?) {
        let bytes = UnsafeMutableRawBufferPointer(rebasing: piece[..<FrameHeader.size])
        try connection.read(into: bytes)
        var head = [UInt8](bytes)
        let header = try FrameHeader(decoding: UnsafeRawBufferPointer(bytes))
        let count = Int(header.length)
        let start = header.type == .data ? 16 : 0
        let body = UnsafeMutableRawBufferPointer(rebasing: piece[start..<start + count])
        try connection.read(into: body)
        guard header.type != .data else { return (header, nil) }
        return try head.withUnsafeMutableBytes { head in
            try header.check(UnsafeRawBufferPointer(head), body: UnsafeRawBufferPointer(body))
            return (header, try Message(header, body: UnsafeRawBufferPointer(body)))
        }
    }

    private func send(_ message: Message) throws { try connection.send(message, session: number) }

    /// Signs of life of this process, and of nothing beyond it: what xl has is told by acks.
    private func keepBeating() throws {
        let now = Clock.monotonic
        guard now >= nextBeat else { return }
        nextBeat = now + UInt64(Self.beat) * 1_000_000
        beats += 1
        try send(.heartbeat(Heartbeat(number: beats, sentAt: Instant(nanoseconds: Clock.boot))))
    }

    private func serve(_ hello: Hello, _ remote: RemoteXl) throws {
        let deadline = Clock.monotonic + UInt64(Self.startLimit) * 1_000_000
        while !remote.isReady {
            guard Clock.monotonic < deadline, !connection.hasEnded else {
                throw XlPeerError("it did not become ready")
            }
            _ = Poll.wait(remote.descriptor, milliseconds: 100)
            try remote.listen()
        }
        let welcome = Welcome(
            version: ProtocolVersion.newest,
            committedEpoch: nil,
            // The script has ended whatever an earlier session left.
            keepsOlderImage: false,
            memoryCeiling: .max >> 1,
            memoryUsed: 0,
            host: options.host
        )
        try send(.welcome(welcome))
        while true {
            try keepBeating()
            var entries = [Poll.Entry(remote.descriptor), Poll.Entry(connection.descriptor)]
            Poll.wait(&entries, milliseconds: Int32(Self.beat))
            try acknowledge(remote)
            guard entries[1].isReady else { continue }
            let (header, message) = try receive()
            switch message {
            case nil: try feed(Int(header.length), remote)
            case .epochEnd(let epoch, _):
                awaited = (epoch, pieces)
                try acknowledge(remote)
            case .heartbeat(let beat): try send(.heartbeatEcho(beat))
            case .plannedEnd(let end): return try plannedEnd(end, remote)
            default: break
            }
        }
    }

    private func acknowledge(_ remote: RemoteXl) throws {
        try remote.listen()
        guard !remote.hasEnded else { throw XlPeerError("it has ended there") }
        guard let awaited, remote.acknowledged >= awaited.pieces else { return }
        self.awaited = nil
        hasImage = true
        try send(.ack(epoch: awaited.epoch))
    }

    /// Writes the piece that was received, with its length before it.
    private func feed(_ count: Int, _ remote: RemoteXl) throws {
        let line = Array("\(count)\n".utf8)
        let start = 16 - line.count
        UnsafeMutableRawBufferPointer(rebasing: piece[start..<16]).copyBytes(from: line)
        pieces += 1
        try write(UnsafeRawBufferPointer(rebasing: piece[start..<16 + count]), remote) { try keepBeating() }
    }

    /// Writes `bytes`, which stay where they are until they are written, should this throw meanwhile.
    private func write(
        _ bytes: UnsafeRawBufferPointer,
        _ remote: RemoteXl,
        meanwhile: () throws -> Void
    ) throws {
        unwritten = bytes
        while true {
            unwritten = UnsafeRawBufferPointer(rebasing: unwritten[try remote.write(unwritten)...])
            if unwritten.isEmpty { return }
            _ = Poll.wait(remote.inputDescriptor, readable: false, writable: true, milliseconds: 50)
            try remote.listen()
            try meanwhile()
        }
    }

    private func plannedEnd(_ end: PlannedEnd, _ remote: RemoteXl) throws {
        if end.reason == .crashed, hasImage {
            try order(.hold, remote)
            try send(.plannedEndAnswer(.kept, generation: end.generation))
        } else {
            try self.end(remote)
            try send(.plannedEndAnswer(.dropped, generation: end.generation))
        }
        // The other side closes when it has read the answer.
        _ = Poll.wait(connection.descriptor, milliseconds: 2000)
    }

    private func order(_ order: XlPeerScript.Order, _ remote: RemoteXl) throws {
        let deadline = Clock.monotonic + UInt64(Self.endLimit) * 1_000_000
        func checkTime() throws {
            guard Clock.monotonic < deadline else { throw XlPeerError("it takes no order") }
        }
        // To the other side a word is an order only behind a whole piece.
        try write(unwritten, remote, meanwhile: checkTime)
        let line = Array("\(order.rawValue)\n".utf8)
        piece.copyBytes(from: line)
        try write(UnsafeRawBufferPointer(rebasing: piece[..<line.count]), remote, meanwhile: checkTime)
        isOver = true
    }

    /// Has xl killed, before its input can end.
    private func end(_ remote: RemoteXl) throws {
        guard !isOver else { return }
        try order(.end, remote)
        let deadline = Clock.monotonic + UInt64(Self.endLimit) * 1_000_000
        while !remote.hasEnded {
            guard Clock.monotonic < deadline else { throw XlPeerError("it does not say that it has ended") }
            // The primary may be gone; what it ended is ended all the same.
            try? keepBeating()
            _ = Poll.wait(remote.descriptor, milliseconds: 50)
            try remote.listen()
        }
    }
}
