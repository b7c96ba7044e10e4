import Checkpoint
import Glibc
import Logging
import SystemSupport
import Testing
import Transport

@testable import Daemon

/// A standby with TLS, and who comes by: paired hosts are served; all others are refused, few at a time, in few lines.
@Suite(.timeLimit(.minutes(2))) struct StrangersTests {
    private let directory: TemporaryDirectory
    private let log = CapturedLog()
    private let service: StandbyService
    private let book: PeerBook
    private let alpha: HostKey, beta: HostKey

    private static var now: Int64 { Int64(Clock.wall / 1_000_000_000) }

    private static func key(_ host: String, until end: Int64 = now + 86_400) throws -> HostKey {
        try HostKey(newFor: host, validIn: now - 86_400...end)
    }

    init() throws {
        Signals.ignore([SIGPIPE])
        directory = try TemporaryDirectory()
        let paths = Paths(runtime: directory.path, state: directory.path)
        try Guardian.serve(at: paths.guardianSocket())
        (alpha, beta) = (try Self.key("alpha"), try Self.key("beta"))
        let book = PeerBook(paths)
        self.book = book
        try book.store(
            PeerRecord(host: HostName("alpha"), pin: alpha.pin, guests: [GuestName("sample")]),
            HostName("alpha")
        )
        var options = StandbyOptions(listen: SocketAddress(host: "127.0.0.1", port: 0), paths: paths)
        options.security = .tls(try TLSContext(key: beta) { book.verdict(on: $0) })
        options.log = log.logger
        options.helloLimit = .milliseconds(1500)
        let nothing = Activators(embedded: NoActivator(), xen: NoActivator())
        let service = try StandbyService(options, activator: nothing)
        self.service = service
        try WorkerThread("standby") { service.run() }.detach()
    }

    /// TLS as a host does it that knows the standby.
    private func security(_ key: HostKey) throws -> LinkSecurity {
        let pin = beta.pin
        return .tls(try TLSContext(key: key) { $0 == pin ? .known(host: "beta") : .unknown })
    }

    /// Connects, sends bytes, and waits for the standby to end it.
    private func stranger(sends bytes: [UInt8] = [], closes: Bool = false) throws -> [UInt8] {
        let socket = try TCP.connect(to: service.address, milliseconds: 5000)
        if !bytes.isEmpty { _ = try bytes.withUnsafeBytes { try socket.sendNow($0) } }
        if closes { return [] }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while Poll.wait(socket.raw, milliseconds: 10_000) {
            let count = read(socket.raw, &chunk, chunk.count)
            guard count > 0 else { return answer }
            answer += chunk[..<count]
        }
        Issue.record("the standby keeps a stranger's connection")
        return answer
    }

    private func said(_ words: String) -> Bool {
        for _ in 0..<500 {
            if log.lines.contains(where: { $0.contains(words) }) { return true }
            usleep(10_000)
        }
        return false
    }

    @Test func aSessionGoesOnWhateverStrangersDo() throws {
        defer { service.stop() }
        let good = try HandPrimary(to: service.address, try security(alpha), host: "alpha")
        good.pump { $0.isWelcome }
        good.commit()
        #expect(good.acked == 1 && good.connection.transport?.hasPrefix("tls1.3/TLS_") == true)
        let status = service.allGuests.first?.status(ceiling: 1, used: 0)
        #expect(status?.transport == good.connection.transport)

        let other = try HandPrimary(to: service.address, try security(Self.key("alpha")), host: "alpha")
        other.pump { _ in false }
        #expect("\(try #require(other.lost))".contains("does not know this host's key"))
        #expect(said("none of a paired host"))
        good.commit()

        let plain = try HandPrimary(to: service.address, .plaintext, host: "alpha")
        plain.pump { _ in false }
        #expect(plain.refusal?.reason == .notAllowed)
        #expect(said("it speaks plaintext"))
        good.commit()

        _ = try stranger(closes: true)
        #expect(try stranger(sends: Array("GET / HTTP/1.1\r\n\r\n".utf8)).count < 64)
        #expect(try stranger(sends: [UInt8](repeating: 0xA5, count: 4000)).count < 64)
        good.commit()

        // One that says nothing, and one that says a little of a handshake.
        let quiet = [
            Background { try stranger() },
            Background { try stranger(sends: [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC]) },
        ]
        let deadline = Clock.monotonic + 2_500_000_000
        good.pump { _ in Clock.monotonic > deadline }
        for each in quiet { #expect(try each.value().count < 64) }
        #expect(said("in time"))
        good.commit()
        #expect(good.acked == 5 && good.lost == nil && good.refusal == nil)
        #expect(service.door.waiting == 0)
    }

    @Test func anExpiredCertificateAndAnExpiredPairingAreRefused() throws {
        defer { service.stop() }
        let old = try HostKey(alpha, host: "alpha", validIn: Self.now - 86_400...Self.now - 60)
        let stale = try HandPrimary(to: service.address, try security(old), host: "alpha")
        stale.pump { _ in false }
        #expect("\(try #require(stale.lost))".contains("has expired"))
        #expect(said("certificate of alpha has expired"))
        let host = try HostName("alpha")
        try book.store(PeerRecord(host: host, pin: alpha.pin, notAfter: Self.now - 1), host)
        let late = try HandPrimary(to: service.address, try security(alpha), host: "alpha")
        late.pump { _ in false }
        #expect("\(try #require(late.lost))".contains("has expired"))
        #expect(said("pairing with alpha has expired"))
    }

    @Test func aPairedHostSpeaksForItselfAndItsGuestsOnly() throws {
        defer { service.stop() }
        let asAnother = try HandPrimary(to: service.address, try security(alpha), host: "gamma")
        asAnother.pump { _ in false }
        #expect(asAnother.refusal?.reason == .notAllowed)
        #expect(asAnother.refusal?.text.contains("the key is that of alpha") == true)
        let forAnother = try HandPrimary(
            to: service.address,
            try security(alpha),
            host: "alpha",
            guest: "secret"
        )
        forAnother.pump { _ in false }
        #expect(forAnother.refusal?.reason == .notAllowed)
        #expect(forAnother.refusal?.text.contains("may not replicate guest secret") == true)
        #expect(service.allGuests.isEmpty)
        // What is forgotten is refused at once, and what is allowed is taken at once.
        let host = try HostName("alpha")
        try book.store(PeerRecord(host: host, pin: alpha.pin), host)
        let allowed = try HandPrimary(
            to: service.address,
            try security(alpha),
            host: "alpha",
            guest: "secret"
        )
        allowed.pump { $0.isWelcome }
        #expect(allowed.isWelcome)
        try book.forget(host)
        let forgotten = try HandPrimary(to: service.address, try security(alpha), host: "alpha")
        forgotten.pump { _ in false }
        #expect("\(try #require(forgotten.lost))".contains("does not know this host's key"))
    }

    @Test func whatAHostAsksBeforeAStartIsAskedTheSameWay() throws {
        defer { service.stop() }
        func ask(_ guest: String, _ security: LinkSecurity, host: String? = "beta") throws -> HostClaim {
            let inquiry = Inquiry(name: guest, uuid: GuestUUID(high: 1, low: 2))
            return try PeerInquiry.ask(inquiry, at: service.address, security: security, host: host)
        }
        #expect(try ask("sample", try security(alpha)) == HostClaim())
        // Another host's word is none, nor is "nothing" from one that no record names.
        for host in ["gamma", nil] {
            #expect(throws: RefusedInquiry.self) { try ask("sample", try security(alpha), host: host) }
        }
        #expect(throws: RefusedInquiry.self) { try ask("secret", try security(alpha)) }
        #expect(throws: RefusedInquiry.self) { try ask("sample", .plaintext) }
        #expect(throws: ConnectionError.self) { try ask("sample", try security(Self.key("alpha"))) }
        // An answer of somebody else's decides nothing.
        let suspicious = LinkSecurity.tls(try TLSContext(key: alpha) { _ in .unknown })
        #expect(throws: ConnectionError.self) { try ask("sample", suspicious) }
    }

    @Test func aCrowdIsBoundedAndLoggedInFewLines() throws {
        defer { service.stop() }
        let began = Clock.monotonic
        var crowd: [Descriptor] = []
        for _ in 0..<60 { crowd.append(try TCP.connect(to: service.address, milliseconds: 5000)) }
        for _ in 0..<200 where service.door.waiting < Doorkeeper.fromOneAddress { usleep(10_000) }
        #expect(service.door.waiting <= Doorkeeper.fromOneAddress)
        // They keep nobody out.
        let good = try HandPrimary(to: service.address, try security(alpha), host: "alpha")
        good.pump { $0.isWelcome }
        good.commit()
        #expect(good.acked == 1)
        for _ in 0..<300 { _ = try stranger(closes: true) }
        good.commit()
        #expect(good.acked == 2)
        let lines = log.lines.filter { $0.contains("refused") || $0.contains("closed") }.count
        #expect(lines <= RefusalLog.burst + 1 + Int((Clock.monotonic - began) / RefusalLog.pause))
        crowd.removeAll()
    }
}
