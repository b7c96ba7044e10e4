import Checkpoint
import SystemSupport
import Transport

/// Who an `xl remus` sends to, and for whom.
package struct XlReceiverOptions: Sendable {
    package var standby: SocketAddress
    /// The host whose xl it is, as `activate --confirm-fenced` will have to name it.
    package var primary: String
    /// The longest that xl, or the standby, may be silent.
    package var silentAfter: TimeSpan
    /// How the connection to the standby is protected.
    package var security = LinkSecurity.plaintext

    package init(standby: SocketAddress, primary: String, silentAfter: TimeSpan) {
        self.standby = standby
        self.primary = primary
        self.silentAfter = silentAfter
    }
}

/// Stands where `xl remus` expects the other host's xl: takes its stream and sends it to a standby as a session.
///
/// It waits for the ack of each epoch before it takes more, but xl has let that epoch's output go by then: the hello says
/// so (`Hello.unacknowledged`). It sends no heartbeats: only what xl sends is a sign of its life. It keeps nothing, and
/// begins no second time: xl cannot.
package struct XlReceiver: ~Copyable {
    /// What xl waits for before it sends (`xl migrate-receive`, xl.h of Xen 4.17).
    package static let banner = "xl migration receiver ready, send binary domain data.\n"
    /// Bytes taken at once, and the most that may come before the first page.
    private static let chunk = 1 << 20, headLimit = ImageLayout.prefixCapacity + chunk
    /// A first hello is of generation 1; its refusal names the one that is known.
    private static let attempts = 3

    private let options: XlReceiverOptions
    private let input: Descriptor
    private let buffer: UnsafeMutableRawBufferPointer
    private var stream = XlRemusStream()
    private var connection: PrimaryConnection?
    private var session: UInt64 = 0
    private var epoch: UInt64 = 0
    /// When the standby was last heard. Nanoseconds of the monotonic clock.
    private var heard: UInt64 = 0
    private var acked: UInt64?
    private var welcomed = false
    private var refusal: Refusal?

    /// - Parameter input: where xl's stream comes from.
    package init(_ options: XlReceiverOptions, input: Descriptor) {
        self.options = options
        self.input = input
        buffer = .allocate(byteCount: Self.chunk, alignment: 4096)
        // Few large reads. What is no pipe stays as it is.
        Pipe.widen(input, to: Int32(Self.chunk))
    }

    deinit { buffer.deallocate() }

    /// Takes the stream to its end.
    /// - Returns: how many epochs the standby has.
    package mutating func run() throws -> UInt64 {
        var pieces: [Piece] = []
        try receiveHead(&pieces)
        while let bytes = try next() {
            pieces.removeAll(keepingCapacity: true)
            var offset = 0
            try stream.take(bytes) { piece, endsEpoch in
                pieces.append(Piece(range: offset..<offset + piece.count, endsEpoch: endsEpoch))
                offset += piece.count
            }
            try send(pieces, of: bytes)
        }
        return epoch
    }

    /// Bytes of one epoch, at most.
    private struct Piece {
        var range: Range<Int>
        var endsEpoch: Bool
    }

    /// Keeps what comes until it says who the guest is, then begins a session with it.
    private mutating func receiveHead(_ pieces: inout [Piece]) throws {
        let head = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.headLimit, alignment: 16)
        defer { head.deallocate() }
        var count = 0
        while true {
            if let guest = try stream.guest() {
                try begin(guest)
                return try send(pieces, of: UnsafeRawBufferPointer(head))
            }
            guard let bytes = try next() else {
                throw XlPeerError("xl ended before the guest's first page")
            }
            guard bytes.count <= head.count - count else {
                throw XlPeerError("more than \(head.count) bytes come before the guest's first page")
            }
            try stream.take(bytes) { piece, endsEpoch in
                UnsafeMutableRawBufferPointer(rebasing: head[count...]).copyMemory(from: piece)
                pieces.append(Piece(range: count..<count + piece.count, endsEpoch: endsEpoch))
                count += piece.count
            }
        }
    }

    // MARK: xl

    /// What xl sent next, nil at its end. The standby is listened to meanwhile.
    private mutating func next() throws -> UnsafeRawBufferPointer? {
        while true {
            var entries = [Poll.Entry(input.raw), Poll.Entry(connection?.descriptor ?? -1)]
            Poll.wait(&entries, milliseconds: 100)
            try listen(entries[1].isReadable)
            guard entries[0].isReady, let count = try Pipe.readNow(from: input, into: buffer) else {
                continue
            }
            return count == 0 ? nil : UnsafeRawBufferPointer(rebasing: buffer[..<count])
        }
    }

    // MARK: The standby

    private mutating func connect() throws {
        let connection = try PrimaryConnection(connectingTo: options.standby, security: options.security)
        self.connection = connection
        heard = Clock.monotonic
        while !connection.isConnected {
            let writable = connection.wantsToWrite
            if Poll.wait(connection.descriptor, readable: !writable, writable: writable, milliseconds: 100) {
                try connection.finishConnecting()
            }
            try checkSilence()
        }
    }

    /// Begins a session, at the next generation after what the standby knows.
    private mutating func begin(_ guest: GuestDescription) throws {
        var generation: UInt64 = 1
        for attempt in 1...Self.attempts {
            session = UInt64.random(in: 1 ... .max >> 1)
            refusal = nil
            try connect()
            do {
                try connection?.queue(.hello(hello(guest, generation)), session: session)
                return try wait { $0.welcomed }
            } catch {
                // Whatever image there was: this guest's clients have seen what it did since.
                guard attempt < Self.attempts, let refusal, refusal.generation >= generation,
                    refusal.reason == .generationTooLow || refusal.reason == .active
                else { throw error }
                generation = refusal.generation + 1
            }
        }
    }

    private func hello(_ guest: GuestDescription, _ generation: UInt64) -> Hello {
        let nobody = ProcessIdentity(pid: 0, startTime: 0)
        var hello = Hello(
            guest: guest,
            generation: generation,
            session: session,
            ackedEpoch: nil,
            imageStillValid: false,
            populatedPages: stream.ramPages,
            epochCapacity: UInt64(guest.pageCount) * UInt64(guestPageSize),
            // A standby counts a tenth of it as silence.
            aloneAfter: TimeSpan(nanoseconds: 10 * options.silentAfter.nanoseconds),
            bootID: "",
            host: options.primary,
            protectProcess: nobody,
            guestProcess: nobody
        )
        hello.unacknowledged = true
        return hello
    }

    /// Sends pieces; with the last of an epoch waits for its ack.
    private mutating func send(_ pieces: [Piece], of bytes: UnsafeRawBufferPointer) throws {
        for piece in pieces {
            connection?.send(
                UnsafeRawBufferPointer(rebasing: bytes[piece.range]),
                epoch: epoch,
                endsEpoch: piece.endsEpoch
            )
            try wait { $0.connection?.isDrained ?? true }
            guard piece.endsEpoch else { continue }
            let sent = epoch
            try wait { $0.acked == sent }
            epoch += 1
        }
    }

    /// Moves the connection on until something is so. xl may hold its guest suspended meanwhile, so not for long.
    private mutating func wait(_ condition: (borrowing XlReceiver) -> Bool) throws {
        let deadline = Clock.monotonic + options.silentAfter.nanoseconds
        while let connection {
            guard Clock.monotonic < deadline else {
                throw XlPeerError(
                    "the standby at \(options.standby) did not take, or acknowledge, what was sent within \(options.silentAfter)"
                )
            }
            try connection.flush()
            if condition(self) { return }
            var entries = [Poll.Entry(connection.descriptor, writable: connection.wantsToWrite)]
            Poll.wait(&entries, milliseconds: 100)
            try listen(entries[0].isReadable)
        }
    }

    private mutating func listen(_ readable: Bool) throws {
        guard let connection, readable else { return try checkSilence() }
        var messages: [Message] = []
        var lost: ConnectionError?
        do throws(ConnectionError) {
            try connection.receive { message, _ in messages.append(message) }
        } catch {
            lost = error
        }
        if !messages.isEmpty { heard = Clock.monotonic }
        for message in messages {
            switch message {
            case .welcome: welcomed = true
            case .ack(let epoch): acked = epoch
            case .refuse(let refusal):
                self.refusal = refusal
                throw XlPeerError("the standby at \(options.standby) refuses: \(refusal.text)")
            default: break
            }
        }
        if let lost { throw XlPeerError("the standby at \(options.standby) is lost: \(lost)") }
        try checkSilence()
    }

    private func checkSilence() throws {
        guard connection != nil, Clock.monotonic > heard + options.silentAfter.nanoseconds else { return }
        throw XlPeerError("the standby at \(options.standby) was silent for \(options.silentAfter)")
    }
}
