import CTLS
import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import Testing

@testable import Transport

/// Two hosts and what they think of each other's keys, over real sockets.
@Suite(.timeLimit(.minutes(1))) struct TLSTests {
    private static let year: Int64 = 365 * 86_400

    private static var now: Int64 { Int64(Clock.wall / 1_000_000_000) }

    private static func key(_ host: String, until end: Int64 = now + year) throws -> HostKey {
        try HostKey(newFor: host, validIn: now - year...end)
    }

    /// A host that knows exactly those keys.
    private static func tls(
        _ key: HostKey,
        knows: [KeyPin: String],
        prefersAES: Bool = true,
        recordsPerKey: UInt64 = 1 << 22
    ) throws -> LinkSecurity {
        .tls(
            try TLSContext(key: key, prefersAES: prefersAES, recordsPerKey: recordsPerKey) { pin in
                knows[pin].map { .known(host: $0) } ?? .unknown
            }
        )
    }

    @Test func pairedHostsKnowEachOtherByName() throws {
        let (alpha, beta) = (try Self.key("alpha"), try Self.key("beta"))
        let meeting = try Meeting(
            primary: Self.tls(alpha, knows: [beta.pin: "beta"]),
            standby: Self.tls(beta, knows: [alpha.pin: "alpha"])
        )
        meeting.pump { !$0.messages.isEmpty }
        #expect(meeting.lost == nil && meeting.messages.count == 1)
        #expect(meeting.primary.peerHost == "beta")
        #expect(meeting.primary.transport == "tls1.3/TLS_AES_128_GCM_SHA256")
        let standby = try meeting.standby.get()
        #expect(standby.peerHost == "alpha" && standby.transport == meeting.primary.transport)
    }

    @Test(arguments: [true, false], [true, false])
    func aSideWithoutInstructionsForAESGetsChaCha(_ atPrimary: Bool, _ atStandby: Bool) throws {
        let (alpha, beta) = (try Self.key("alpha"), try Self.key("beta"))
        let meeting = try Meeting(
            primary: Self.tls(alpha, knows: [beta.pin: "beta"], prefersAES: atPrimary),
            standby: Self.tls(beta, knows: [alpha.pin: "alpha"], prefersAES: atStandby)
        )
        meeting.pump { !$0.messages.isEmpty }
        let suite = atPrimary && atStandby ? "TLS_AES_128_GCM_SHA256" : "TLS_CHACHA20_POLY1305_SHA256"
        #expect(meeting.primary.transport == "tls1.3/\(suite)")
    }

    @Test func aKeyThatIsNotPairedIsRefusedAndToldSo() throws {
        let (alpha, beta, other) = (try Self.key("alpha"), try Self.key("beta"), try Self.key("alpha"))
        let meeting = try Meeting(
            primary: Self.tls(other, knows: [beta.pin: "beta"]),
            standby: Self.tls(beta, knows: [alpha.pin: "alpha"])
        )
        meeting.pump { _ in false }
        #expect(meeting.refusal.contains("none of a paired host"))
        #expect(meeting.refusal.contains(other.pin.short))
        #expect("\(try #require(meeting.lost))".contains("does not know this host's key"))
        #expect(meeting.messages.isEmpty)
    }

    @Test func aStandbyWithAnotherKeyIsRefusedByThePrimary() throws {
        let (alpha, beta, other) = (try Self.key("alpha"), try Self.key("beta"), try Self.key("beta"))
        let meeting = try Meeting(
            primary: Self.tls(alpha, knows: [beta.pin: "beta"]),
            standby: Self.tls(other, knows: [alpha.pin: "alpha"])
        )
        meeting.pump { _ in false }
        #expect("\(try #require(meeting.lost))".contains("none of a paired host"))
        #expect(meeting.refusal.contains("does not know this host's key"))
        #expect(!meeting.primary.isConnected && meeting.primary.peerHost == nil)
    }

    @Test func anExpiredCertificateOfTheRightKeyIsRefused() throws {
        let (alpha, beta) = (try Self.key("alpha", until: Self.now - 60), try Self.key("beta"))
        let meeting = try Meeting(
            primary: Self.tls(alpha, knows: [beta.pin: "beta"]),
            standby: Self.tls(beta, knows: [alpha.pin: "alpha"])
        )
        meeting.pump { _ in false }
        #expect(meeting.refusal.contains("certificate of alpha has expired"))
        #expect("\(try #require(meeting.lost))".contains("has expired"))
    }

    @Test(arguments: [
        PeerVerdict.expired(host: "alpha"), .notAllowed(host: "alpha", reason: "only web1"),
    ])
    func aHostThatIsKnownAndNotWantedIsRefused(_ verdict: PeerVerdict) throws {
        let (alpha, beta) = (try Self.key("alpha"), try Self.key("beta"))
        let standby = LinkSecurity.tls(try TLSContext(key: beta) { _ in verdict })
        let meeting = try Meeting(primary: Self.tls(alpha, knows: [beta.pin: "beta"]), standby: standby)
        meeting.pump { _ in false }
        let isExpired = verdict == .expired(host: "alpha")
        #expect(meeting.refusal.contains(isExpired ? "pairing with alpha has expired" : "only web1"))
        #expect("\(try #require(meeting.lost))".contains(isExpired ? "has expired" : "not for this"))
    }

    @Test func aPlaintextPrimaryIsToldSoInItsOwnLanguage() throws {
        let beta = try Self.key("beta")
        let meeting = try Meeting(primary: .plaintext, standby: Self.tls(beta, knows: [:]))
        meeting.pump { $0.primary.isConnected }
        try meeting.primary.queue(
            .heartbeat(Heartbeat(number: 1, sentAt: Instant(nanoseconds: 1))),
            session: 1
        )
        meeting.pump { !$0.messages.isEmpty }
        guard case .refuse(let refusal) = meeting.messages.first else {
            Issue.record("no refusal: \(meeting.messages) \(String(describing: meeting.lost))")
            return
        }
        #expect(refusal.reason == .notAllowed && refusal.text.contains("TLS only"))
        #expect(meeting.refusal.contains("it speaks plaintext"))
    }

    @Test func aPlaintextStandbyIsNotSpokenToAndSaysWhatItHears() throws {
        let alpha = try Self.key("alpha")
        let meeting = try Meeting(primary: Self.tls(alpha, knows: [:]), standby: .plaintext) {
            connection throws(ConnectionError) in
            let header = UnsafeMutableRawBufferPointer.allocate(byteCount: FrameHeader.size, alignment: 16)
            defer { header.deallocate() }
            try connection.read(into: header)
            do throws(FrameError) {
                _ = try FrameHeader(decoding: UnsafeRawBufferPointer(header))
            } catch {
                let refusal = Refusal(reason: .violation, generation: 0, text: "\(error)")
                try connection.send(.refuse(refusal), session: 0)
                throw .frame(error)
            }
        }
        meeting.pump { _ in false }
        #expect(meeting.refusal.contains("the peer speaks TLS"))
        #expect("\(try #require(meeting.lost))".contains("does not speak TLS"))
        #expect(!meeting.primary.isConnected)
    }

    @Test func aPeerWithoutACertificateIsRefused() throws {
        let beta = try Self.key("beta")
        Signals.ignore([SIGPIPE])
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let address = try TCP.localAddress(of: listener)
        let security = try Self.tls(beta, knows: [:])
        let refusal = Monitor(String?.none)
        try WorkerThread("standby") {
            guard let socket = try? TCP.accept(listener) else { return }
            do throws(ConnectionError) {
                _ = try StandbyConnection(socket, security: security, until: Clock.monotonic + 5_000_000_000)
                refusal.signal { $0 = "" }
            } catch {
                refusal.signal { $0 = error.description }
            }
        }.detach()
        let socket = try TCP.connect(to: address, milliseconds: 5000)
        let context = try #require(SSL_CTX_new(TLS_client_method()))
        defer { SSL_CTX_free(context) }
        let ssl = try #require(SSL_new(context))
        defer { SSL_free(ssl) }
        SSL_set_fd(ssl, socket.raw)
        // In TLS 1.3 the client is done before the server has judged it; it learns by its first read.
        var byte: UInt8 = 0
        #expect(SSL_connect(ssl) != 1 || SSL_read(ssl, &byte, 1) <= 0)
        let words = refusal.wait(until: Clock.monotonic + 10_000_000_000) { $0 }
        #expect(words == "it shows no key of its own")
    }

    @Test func aPeerThatSaysNothingIsGivenUpInTime() throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        let security = try Self.tls(Self.key("beta"), knows: [:])
        #expect(throws: ConnectionError.self) {
            _ = try StandbyConnection(far, security: security, until: Clock.monotonic + 50_000_000)
        }
        // So is one that stops in the middle.
        let (near2, far2) = try UnixSocket.pairOfStreams()
        let start: [UInt8] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]
        try UnixSocket.send(start, over: near2)
        #expect(throws: ConnectionError.self) {
            _ = try StandbyConnection(far2, security: security, until: Clock.monotonic + 50_000_000)
        }
        withExtendedLifetime((near, near2)) {}
    }

    @Test func muchDataPassesWholeAndTheKeyIsRenewed() throws {
        let (alpha, beta) = (try Self.key("alpha"), try Self.key("beta"))
        let count = 24 << 20
        let source = try Mapping.anonymous(count: count)
        var seed: UInt64 = 5
        for word in source.bytes.bindMemory(to: UInt64.self).indices where word.isMultiple(of: 64) {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1
            source.bytes.storeBytes(of: seed, toByteOffset: word * 8, as: UInt64.self)
        }
        nonisolated(unsafe) let expected = UnsafeRawBufferPointer(source.bytes)
        let meeting = try Meeting(
            primary: Self.tls(alpha, knows: [beta.pin: "beta"], recordsPerKey: 100),
            standby: Self.tls(beta, knows: [alpha.pin: "alpha"], recordsPerKey: 2)
        ) { connection throws(ConnectionError) in
            try Self.take(expected, from: connection)
            try Meeting.beat(connection)
        }
        meeting.pump { $0.primary.isConnected }
        meeting.primary.send(UnsafeRawBufferPointer(source.bytes), epoch: 0, endsEpoch: true)
        meeting.pump { !$0.messages.isEmpty }
        #expect(meeting.lost == nil && meeting.messages.count >= 1)
        _ = try meeting.standby.get()
        withExtendedLifetime(source) {}
    }

    private static func bases(
        _ one: UnsafeMutableRawBufferPointer,
        _ other: UnsafeRawBufferPointer
    ) -> (UnsafeRawPointer, UnsafeRawPointer)? {
        guard let one = one.baseAddress, let other = other.baseAddress else { return nil }
        return (UnsafeRawPointer(one), other)
    }

    /// Reads data frames and an `epochEnd`, and compares; a beat now and then on the way back.
    private static func take(
        _ expected: UnsafeRawBufferPointer,
        from connection: StandbyConnection
    ) throws(ConnectionError) {
        let frame = UnsafeMutableRawBufferPointer.allocate(
            byteCount: FrameHeader.size + (1 << 20),
            alignment: 16
        )
        defer { frame.deallocate() }
        let head = UnsafeMutableRawBufferPointer(rebasing: frame[..<FrameHeader.size])
        var done = 0
        while connection.waitForFrame(milliseconds: 5000) {
            try connection.read(into: head)
            let header: FrameHeader
            do throws(FrameError) {
                header = try FrameHeader(decoding: UnsafeRawBufferPointer(head))
            } catch {
                throw .frame(error)
            }
            let end = FrameHeader.size + Int(header.length)
            let body = UnsafeMutableRawBufferPointer(rebasing: frame[FrameHeader.size..<end])
            try connection.read(into: body)
            guard header.type == .data else {
                guard header.type == .epochEnd, done == expected.count else { throw .refused("an early end") }
                return
            }
            guard done + body.count <= expected.count,
                let (here, there) = bases(body, expected),
                memcmp(here, there.advanced(by: done), body.count) == 0
            else {
                throw .refused("other bytes at \(done)")
            }
            done += body.count
        }
        throw .refused("nothing came any more")
    }
}
