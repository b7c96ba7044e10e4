import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// Records in a real etcd, which is killed, stopped, emptied and cut off.
@Suite(.serialized, .timeLimit(.minutes(10)))
struct EtcdArbiterTests {
    let etcd: EtcdServer
    let guest = GuestUUID.random()
    let patience = TimeSpan.seconds(60)

    init() throws {
        Signals.ignore([SIGPIPE])
        etcd = try EtcdServer(TemporaryDirectory())
    }

    private func arbiter(_ addresses: SocketAddress...) throws -> any Arbiter {
        let urls = addresses.map { "http://\($0)" }.joined(separator: ",")
        return try #require(makeArbiter(try ArbiterSpec(parsing: "etcd:\(urls)/test")))
    }

    private func reason(_ answer: GrantAnswer) throws -> String {
        guard case .unavailable(let reason) = answer else {
            Issue.record("\(answer)")
            return ""
        }
        return reason
    }

    @Test func worksAndLeavesNothingOfAProbe() throws {
        let spec = try ArbiterSpec(parsing: "etcd:\(etcd.url)/test")
        let check = ArbiterProbe.check(spec, deadline: patience)
        #expect(check.outcome == .works, "\(check)")
        #expect(check.steps.count == 9)
        #expect(check.identity?.hasPrefix("cluster ") == true)
        #expect(check.notes.isEmpty)
        // From "test/" to "test0", the key after all that begin with it.
        let (from, to) = (EtcdText.encode(Array("test/".utf8)), EtcdText.encode(Array("test0".utf8)))
        let left = try etcd.post("/v3/kv/range", #"{"key":"\#(from)","range_end":"\#(to)"}"#)
        #expect(!left.contains("kvs"), "\(left)")
    }

    @Test func oneWinnerForEachGeneration() throws {
        let arbiters = try (0..<6).map { _ in try arbiter(etcd.address) }
        try ArbiterRace.run(arbiters, generations: 8)
    }

    /// One arbiter, which many threads ask at once.
    @Test func oneArbiterServesMany() throws {
        let shared = try arbiter(etcd.address)
        try ArbiterRace.run([any Arbiter](repeating: shared, count: 6), generations: 4)
    }

    /// One lost answer libcurl makes good itself, by sending again; two it does not.
    @Test(arguments: 1...3)
    func aLostAnswerIsFoundAgain(losses: Int) throws {
        let relay = try CuttingRelay(to: etcd.address)
        defer { relay.stop() }
        let arbiter = try arbiter(relay.address)
        let first = ArbiterRace.request(guest, from: 0, id: 1)
        relay.cutAnswers(losses)
        #expect(arbiter.ask(first, deadline: patience) == .granted(first.wanted))
        let second = ArbiterRace.request(guest, from: 1, id: 2, usedBefore: true)
        relay.cutAnswers(losses)
        #expect(arbiter.ask(second, deadline: patience) == .granted(second.wanted))
        #expect(try arbiter.record(of: guest, deadline: patience) == second.wanted)
    }

    /// etcd loses its power after the transaction, before its answer: whoever asks again with the same id is granted it.
    @Test func etcdDiesBetweenTheGrantAndItsAnswer() throws {
        let relay = try CuttingRelay(to: etcd.address)
        defer { relay.stop() }
        let arbiter = try arbiter(relay.address)
        let request = ArbiterRace.request(guest, from: 0, id: 1)
        relay.cutAnswers(1) { [etcd] in etcd.kill() }
        let lost = try reason(arbiter.ask(request, deadline: .seconds(5)))
        #expect(lost.contains("it may have been granted all the same: ask again"), "\(lost)")
        try etcd.start()
        let rival = ArbiterRace.request(guest, from: 0, owner: "beta", id: 2)
        #expect(arbiter.ask(rival, deadline: patience) == .denied(by: request.wanted))
        #expect(arbiter.ask(request, deadline: patience) == .granted(request.wanted))
    }

    @Test func aGrantOutlivesEtcd() throws {
        let arbiter = try arbiter(etcd.address)
        let request = ArbiterRace.request(guest, from: 0, id: 1)
        #expect(arbiter.ask(request, deadline: patience) == .granted(request.wanted))
        etcd.kill()
        #expect(try reason(arbiter.ask(request, deadline: patience)).hasPrefix(arbiter.name + ": "))
        #expect(throws: ArbiterError.self) { try arbiter.record(of: guest, deadline: patience) }
        try etcd.start()
        #expect(arbiter.ask(request, deadline: patience) == .granted(request.wanted))
    }

    @Test func anEtcdThatWasEmptiedHasLostItsMemory() throws {
        let arbiter = try arbiter(etcd.address)
        let first = ArbiterRace.request(guest, from: 0, id: 1)
        #expect(arbiter.ask(first, deadline: patience) == .granted(first.wanted))
        try etcd.startWithoutMemory()
        #expect(try arbiter.record(of: guest, deadline: patience) == nil)
        let next = ArbiterRace.request(guest, from: 1, id: 2, usedBefore: true)
        #expect(arbiter.ask(next, deadline: patience) == .memoryLost(found: nil))
        // A backup from before: lower than what the asker knows.
        let old = GrantRecord(generation: 1, owner: "alpha", id: 1)
        try etcd.put("test/\(guest)", GrantDocument.encode(old, of: guest))
        let later = ArbiterRace.request(guest, from: 2, id: 3, usedBefore: true)
        #expect(arbiter.ask(later, deadline: patience) == .memoryLost(found: old))
        #expect(try arbiter.record(of: guest, deadline: patience) == old, "nothing was changed")
    }

    @Test func aRecordThatCannotBeReadIsAnError() throws {
        let arbiter = try arbiter(etcd.address)
        let others = try GrantDocument.encode(
            GrantRecord(generation: 1, owner: "a", id: 1),
            of: .random()
        )
        let values: [[UInt8]] = [[], Array("hello".utf8), Array("{}".utf8), [0xFF, 0], others]
        for value in values {
            try etcd.put("test/\(guest)", value)
            #expect(throws: ArbiterError.self) { try arbiter.record(of: guest, deadline: patience) }
            for usedBefore in [true, false] {
                let request = ArbiterRace.request(guest, from: 0, id: 1, usedBefore: usedBefore)
                let words = try reason(arbiter.ask(request, deadline: patience))
                #expect(words.contains("the key test/\(guest) holds a record that cannot be used"))
            }
        }
    }

    /// What goes by itself after a while is no permanent record.
    @Test func aLeaseIsAnError() throws {
        let answer = try etcd.post("/v3/lease/grant", #"{"TTL":"600"}"#)
        let id = try #require(answer.split(separator: #""ID":""#).last?.split(separator: "\"").first)
        let record = GrantRecord(generation: 1, owner: "alpha", id: 1)
        try etcd.put("test/\(guest)", GrantDocument.encode(record, of: guest), lease: String(id))
        let arbiter = try arbiter(etcd.address)
        let error = #expect(throws: ArbiterError.self) {
            try arbiter.record(of: guest, deadline: patience)
        }
        #expect(error?.description.contains("has a lease") == true)
        let request = ArbiterRace.request(guest, from: 1, id: 2)
        #expect(try reason(arbiter.ask(request, deadline: patience)).contains("has a lease"))
    }

    /// A swap is refused where the value or its place in etcd's history is another by now.
    @Test func aSwapIsFromExactlyWhatWasRead() throws {
        guard case .etcd(let spec) = try ArbiterSpec(parsing: "etcd:\(etcd.url)/test") else { return }
        let store = EtcdStore(spec)
        let (first, second) = (
            GrantRecord(generation: 1, owner: "alpha", id: 1),
            GrantRecord(generation: 2, owner: "beta", id: 2)
        )
        let until = Clock.monotonic + 60_000_000_000
        let nothing = try store.read(guest, until: until)
        #expect(try store.swap(guest, from: nothing, to: first, until: until))
        #expect(try !store.swap(guest, from: nothing, to: second, until: until), "it is not absent any more")
        let found = try store.read(guest, until: until)
        // The same bytes, written again: another place in the history.
        try etcd.put("test/\(guest)", GrantDocument.encode(first, of: guest))
        #expect(try !store.swap(guest, from: found, to: second, until: until))
        // The right place, other bytes: a history that was begun anew.
        var foreign = try store.read(guest, until: until)
        let revision = try #require(foreign.version?.modRevision)
        foreign.version = EtcdVersion(modRevision: revision, value: Array("{}".utf8))
        #expect(try !store.swap(guest, from: foreign, to: second, until: until))
        let now = try store.read(guest, until: until)
        #expect(try store.swap(guest, from: now, to: second, until: until))
    }

    /// An etcd that accepts and does not answer. The time limit of the suite is all that measures.
    @Test func aStoppedEtcdIsUnavailableInTime() throws {
        let arbiter = try arbiter(etcd.address)
        let request = ArbiterRace.request(guest, from: 0, id: 1)
        etcd.signal(SIGSTOP)
        for _ in 0..<3 { _ = try reason(arbiter.ask(request, deadline: .milliseconds(500))) }
        #expect(throws: ArbiterError.self) { try arbiter.record(of: guest, deadline: .milliseconds(200)) }
        etcd.signal(SIGCONT)
        #expect(arbiter.ask(request, deadline: patience) == .granted(request.wanted))
    }

    /// One that is down, one that is silent, one that is something else: the next one is asked, in time.
    @Test func oneOfSeveralIsEnough() throws {
        let silent = try WrongServer(nil)
        let other = try WrongServer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        defer {
            silent.stop()
            other.stop()
        }
        let nobody = SocketAddress(host: "127.0.0.1", port: 1)
        let arbiter = try arbiter(nobody, silent.address, other.address, etcd.address)
        let request = ArbiterRace.request(guest, from: 0, id: 1)
        #expect(arbiter.ask(request, deadline: .seconds(20)) == .granted(request.wanted))
        #expect(try arbiter.record(of: guest, deadline: .seconds(20)) == request.wanted)
    }
}
