import Checkpoint
import Glibc
import SystemSupport
import Testing
import Transport

@testable import Daemon

@Suite struct PeerBookTests {
    private let directory: TemporaryDirectory
    private let paths: Paths
    private let book: PeerBook

    init() throws {
        directory = try TemporaryDirectory()
        paths = Paths(runtime: directory.path, state: directory.path)
        book = PeerBook(paths)
    }

    private func pin(_ digit: Character) throws -> KeyPin {
        try #require(KeyPin(String(repeating: digit, count: 64)))
    }

    @Test func limitsStayUntilTheyAreChanged() throws {
        let alpha = try HostName("alpha")
        var limits = PairingLimits()
        limits.guests = [try GuestName("web2"), try GuestName("web1")]
        limits.notAfter = 4_000_000_000
        let first = try book.remember(alpha, pin("1"), limits: limits)
        #expect(first.old == nil && first.new.guests == ["web1", "web2"])
        // Again, and with another key: a host that was installed anew may no more than before.
        let second = try book.remember(alpha, pin("1"), limits: PairingLimits())
        #expect(second.old == first.new && second.new == first.new)
        let third = try book.remember(alpha, pin("2"), limits: PairingLimits())
        #expect(third.new.guests == ["web1", "web2"] && third.new.notAfter == 4_000_000_000)
        #expect(try book.verdict(on: pin("1")) == .unknown)
        #expect(try book.verdict(on: pin("2")) == .known(host: "alpha"))
        limits = PairingLimits()
        (limits.allGuests, limits.forever) = (true, true)
        let last = try book.remember(alpha, pin("2"), limits: limits).new
        #expect(last.guests == nil && last.notAfter == nil)
        #expect(book.records().records == [last])
    }

    /// A host that was renamed keeps its key: the old name's record would be found first.
    @Test func aKeyIsOfOneHost() throws {
        let (old, renamed, other) = (try HostName("alpha"), try HostName("beta"), try HostName("gamma"))
        try book.store(PeerRecord(host: old, pin: pin("1"), guests: [GuestName("web1")]), old)
        try book.store(PeerRecord(host: other, pin: pin("2")), other)
        let kept = try book.remember(renamed, pin("1"), limits: PairingLimits())
        #expect(try book.verdict(on: pin("1")) == .known(host: "beta"))
        #expect(book.records().records.map(\.host) == ["beta", "gamma"])
        // What it may do stays as it was, here too.
        #expect(kept.new.guests == ["web1"])
    }

    /// What it allowed cannot be read any more, and must not become everything by itself.
    @Test func overABrokenRecordTheGuestsMustBeSaid() throws {
        try SmallFile.makeDirectories(paths.peers)
        try directory.write("{", to: "peers/alpha.json")
        let alpha = try HostName("alpha")
        var limits = PairingLimits()
        #expect(throws: PairingError.self) { try book.remember(alpha, pin("1"), limits: limits) }
        #expect(SmallFile.read(paths.peerRecord(alpha)) == "{")
        limits.guests = [try GuestName("web1")]
        #expect(try book.remember(alpha, pin("1"), limits: limits).new.guests == ["web1"])
        try directory.write("{", to: "peers/alpha.json")
        limits = PairingLimits()
        limits.allGuests = true
        #expect(try book.remember(alpha, pin("1"), limits: limits).new.guests == nil)
    }

    @Test func whatIsNotAllowedIsSaid() throws {
        let alpha = try HostName("alpha")
        try book.store(
            PeerRecord(host: alpha, pin: pin("1"), guests: [GuestName("web1")], notAfter: 1000),
            alpha
        )
        #expect(try book.verdict(on: pin("1"), guest: "web1", at: 1000) == .known(host: "alpha"))
        #expect(try book.verdict(on: pin("1"), guest: "web1", at: 1001) == .expired(host: "alpha"))
        guard case .notAllowed(let host, let reason) = try book.verdict(on: pin("1"), guest: "web2", at: 1000)
        else {
            Issue.record("web2 is allowed")
            return
        }
        #expect(host == "alpha" && reason.contains("web2"))
    }

    @Test func aRecordThatCannotBeUsedPairsNobody() throws {
        try SmallFile.makeDirectories(paths.peers)
        try directory.write("{", to: "peers/alpha.json")
        let good = try HostName("beta")
        try book.store(PeerRecord(host: good, pin: pin("2")), good)
        // A record under another name than its own is none of that host's.
        try directory.write(
            try ControlJSON.pretty(PeerRecord(host: good, pin: pin("3"))),
            to: "peers/gamma.json"
        )
        let (records, troubles) = book.records()
        #expect(records.map(\.host) == ["beta"])
        #expect(troubles.map(\.path) == [paths.peers + "/alpha.json", paths.peers + "/gamma.json"])
        #expect(try book.verdict(on: pin("3")) == .unknown)
        try book.forget(HostName("alpha"))
        #expect(!book.hasFile(of: try HostName("alpha")))
    }

    @Test func aHostsKeyIsMadeOnceAndRenewedByItself() throws {
        let key = try HostIdentity.load(paths, now: 1_000_000_000)
        #expect(try HostIdentity.load(paths, now: 1_000_000_001).pin == key.pin)
        var info = stat()
        #expect(stat(paths.hostKey, &info) == 0 && info.st_mode & 0o777 == 0o600)
        let late = 1_000_000_000 + HostIdentity.lifetime - HostIdentity.renewal + 10
        let renewed = try HostIdentity.load(paths, now: late)
        #expect(renewed.pin == key.pin && renewed.expires == late + HostIdentity.lifetime)
    }

    @Test func aKeyThatOthersMayReadOrThatIsDamagedIsNotReplaced() throws {
        _ = try HostIdentity.load(paths)
        let kept = SmallFile.readBytes(paths.hostKey)
        chmod(paths.hostKey, 0o644)
        #expect(throws: PathError.self) { try HostIdentity.load(paths) }
        chmod(paths.hostKey, 0o600)
        #expect(SmallFile.readBytes(paths.hostKey) == kept)
        try directory.write("garbage", to: "host-key.pem")
        #expect(throws: PathError.self) { try HostIdentity.load(paths) }
        #expect(SmallFile.read(paths.hostKey) == "garbage")
    }

    @Test(arguments: ["", "a/b", "..", ".", "a b", String(repeating: "x", count: 65)])
    func aHostsNameIsSafeAsAPath(_ name: String) { #expect(throws: ValueError.self) { try HostName(name) } }

    @Test func aDayEndsWithItsLastSecond() {
        #expect(
            Timestamp.endOfDay("2027-12-31").map { Timestamp.text(seconds: Int($0)) }
                == "2027-12-31T23:59:59Z"
        )
        for wrong in ["2027-02-30", "2027-13-01", "27-1-1", "2027-1-01", "tomorrow", "2027-12-31x", ""] {
            #expect(Timestamp.endOfDay(wrong) == nil)
        }
    }
}
