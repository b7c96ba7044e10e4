import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// The standby's end of a connection: one session thread reads, any thread may shut it down.
///
/// Waits are bounded: between frames by the caller's patience, inside a frame by `stallLimit`, and all of them by `limit`.
package final class StandbyConnection: Sendable {
    /// Longest wait for the rest of a frame that has begun, in milliseconds.
    private static let stallLimit: Int32 = 1000
    /// How long the rest of an epoch is looked out for before the thread sleeps, in nanoseconds, where there is a second processor: it is
    /// there sooner than a sleeper is woken.
    private static let lookout: UInt64 = ProcessorPin.online > 1 ? 50_000 : 0

    private let channel: any ByteChannel
    /// When patience ends for good, in nanoseconds of the monotonic clock.
    private let deadline = Atomic<UInt64>(.max)
    /// Where the peer is, for logs.
    package let peer: String

    /// Takes over an accepted socket; under TLS, returns once the peer has proved who it is. Until then the peer has cost
    /// a thread, and once it has said something, what OpenSSL needs for a handshake.
    /// - Parameters:
    ///   - accepting: the peer began; else this side did, to ask something (`PeerInquiry`).
    ///   - deadline: for that; nanoseconds of the monotonic clock. It goes on to hold until `limit` changes it.
    package init(
        _ socket: Descriptor,
        security: LinkSecurity = .plaintext,
        accepting: Bool = true,
        until deadline: UInt64 = .max
    ) throws(ConnectionError) {
        peer = (try? TCP.remoteAddress(of: socket).description) ?? "unknown"
        self.deadline.store(deadline, ordering: .relaxed)
        do throws(SystemError) {
            try TCP.setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
            try TCP.makeReceiveRoom(socket)
        } catch {
            throw .system(error)
        }
        if accepting, case .tls = security { try Self.awaitTLS(socket, until: deadline) }
        channel = try security.channel(over: socket, accepting: accepting)
        do throws(ConnectionError) {
            while try !channel.handshake() {
                try Self.wait(socket, writable: channel.owesOutput, until: deadline)
            }
        } catch {
            Self.letRead(socket, until: deadline)
            throw error
        }
    }

    /// Speaks over a stream socket that is connected, to another thread of this process, which stands for `peer`.
    package init(over socket: Descriptor, peer: String) throws(SystemError) {
        channel = PlainChannel(socket, readsAhead: true)
        self.peer = peer
        try TCP.makeReceiveRoom(socket)
    }

    /// For poll.
    package var descriptor: Int32 { channel.socket.raw }
    /// The paired host at the other end; nil for plaintext.
    package var peerHost: String? { channel.peerHost }
    /// `plaintext`, or protocol and cipher.
    package var transport: String { channel.transport }

    /// Ends the connection for whoever reads or writes it.
    package func shutDown() { channel.socket.shutDown() }

    /// True once the peer has closed its end, whatever it sent before.
    package var hasEnded: Bool { Poll.peerHasClosed(channel.socket.raw) }

    /// Everything is to be over by `deadline`, in nanoseconds of the monotonic clock; nil for no limit but the usual.
    package func limit(until deadline: UInt64?) { self.deadline.store(deadline ?? .max, ordering: .relaxed) }

    /// Waits for the next frame's first byte, at most `milliseconds`.
    /// - Parameter soon: more of an epoch is on its way.
    /// - Returns: false if none came; true also if the connection has ended, which the next read tells.
    package func waitForFrame(milliseconds: Int32, soon: Bool = false) -> Bool {
        if soon {
            let end = Clock.monotonic + Self.lookout
            while Clock.monotonic < end { if channel.waitReadable(milliseconds: 0) { return true } }
        }
        return channel.waitReadable(milliseconds: milliseconds)
    }

    /// Fills `target` with the next bytes.
    package func read(into target: UnsafeMutableRawBufferPointer) throws(ConnectionError) {
        var rest = target
        var looksUntil: UInt64 = 0
        while !rest.isEmpty {
            if let count = try channel.receiveNow(into: rest) {
                rest = UnsafeMutableRawBufferPointer(rebasing: rest[count...])
                looksUntil = 0
                continue
            }
            if looksUntil == 0 { looksUntil = Clock.monotonic + Self.lookout }
            if Clock.monotonic < looksUntil { continue }
            try waitWhileStalled(writable: channel.owesOutput)
        }
    }

    /// Writes a message. One thread at a time.
    package func send(_ message: Message, session: UInt64) throws(ConnectionError) {
        var failure: ConnectionError?
        message.withFrame(session: session) { frame in
            do throws(ConnectionError) {
                var rest = frame
                while !rest.isEmpty {
                    if let count = try channel.sendNow(rest) {
                        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                    } else {
                        try waitWhileStalled(writable: true)
                    }
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// Nothing moves: waits until something can, at most `stallLimit`.
    private func waitWhileStalled(writable: Bool) throws(ConnectionError) {
        let end = deadline.load(ordering: .relaxed)
        let stalled = Clock.monotonic + UInt64(Self.stallLimit) * 1_000_000
        do throws(ConnectionError) {
            try Self.wait(channel.socket, writable: writable, until: min(end, stalled))
        } catch {
            throw .stalled(peer)
        }
    }
}

// MARK: - Before the peer is known

extension StandbyConnection {
    /// Waits until a socket is ready.
    private static func wait(_ socket: Descriptor, writable: Bool, until deadline: UInt64)
        throws(ConnectionError)
    {
        let now = Clock.monotonic
        let left = deadline > now ? min(deadline - now, 3_600_000_000_000) : 0
        let milliseconds = Int32((left + 999_999) / 1_000_000)
        guard
            left > 0,
            Poll.wait(socket.raw, readable: !writable, writable: writable, milliseconds: milliseconds)
        else { throw .system(SystemError("hear from the peer in time", code: ETIMEDOUT)) }
    }

    /// Looks at the peer's first bytes without taking them: one that speaks plaintext is told so in its own language.
    private static func awaitTLS(_ socket: Descriptor, until deadline: UInt64) throws(ConnectionError) {
        try wait(socket, writable: false, until: deadline)
        var magic: UInt32 = 0
        let count = recv(socket.raw, &magic, 4, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        guard count == 4, UInt32(littleEndian: magic) == FrameHeader.magic else { return }
        let text =
            "this standby takes TLS only: 'remusd pair' on both hosts, and protect with --tls and without "
            + "--insecure-plaintext"
        let refusal = Message.refuse(Refusal(reason: .notAllowed, generation: 0, text: text))
        _ = refusal.withFrame(session: 0) { frame in try? socket.sendNow(frame) }
        letRead(socket, until: deadline)
        throw .refused("it speaks plaintext, and this standby takes TLS only")
    }

    /// Lets a refused peer read why: what it still sends is thrown away, for a short while, because a close over unread
    /// bytes would take the last word back (tcp(7): a reset).
    private static func letRead(_ socket: Descriptor, until deadline: UInt64) {
        shutdown(socket.raw, Int32(SHUT_WR))
        let end = min(deadline, Clock.monotonic + 500_000_000)
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { scrap in
            for _ in 0..<64 {
                guard (try? wait(socket, writable: false, until: end)) != nil,
                    let count = try? socket.receiveNow(into: scrap), count > 0
                else { return }
            }
        }
    }
}
