import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import Testing

@testable import Daemon

/// Records on shared storage: links that nobody else has made.
@Suite(.timeLimit(.minutes(5)))
struct FileArbiterTests {
    let directory: TemporaryDirectory
    let path: String
    let guest = GuestUUID.random()

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.file("storage")
        try #require(mkdir(path, 0o700) == 0)
    }

    private func prepared() throws -> any Arbiter {
        _ = try FileMarker.prepare(path)
        return try #require(makeArbiter(.file(path: path)))
    }

    private func names(_ path: String) throws -> Set<String> {
        Set(try ArbiterDirectory(path).names()).subtracting([".", ".."])
    }

    @Test func storageThatIsNotMountedIsNotEmpty() throws {
        for path in [path, directory.file("nowhere")] {
            let arbiter = try #require(makeArbiter(.file(path: path)))
            let error = #expect(throws: ArbiterError.self) {
                try arbiter.record(of: guest, deadline: .seconds(20))
            }
            #expect(error?.description.hasPrefix("file:\(path): ") == true)
            let answer = arbiter.ask(ArbiterRace.request(guest, from: 0, id: 1), deadline: .seconds(20))
            guard case .unavailable = answer else {
                Issue.record("\(answer)")
                continue
            }
        }
        #expect(try names(path).isEmpty, "nothing is made where no marker is")
    }

    @Test func isPreparedOnceAndStaysTheSame() throws {
        let (marker, isNew) = try FileMarker.prepare(path)
        #expect(isNew)
        let again = try FileMarker.prepare(path)
        #expect(!again.isNew)
        #expect(again.marker.id == marker.id)
        #expect(try names(path) == [FileMarker.name])
        #expect(throws: ArbiterError.self) { try FileMarker.prepare(directory.file("nowhere")) }
    }

    @Test(arguments: ["", "{}", #"{"schema":"remusd.file-arbiter/2","id":"1","made_at":""}"#])
    func aMarkerThatCannotBeReadIsNone(text: String) throws {
        try directory.write(text, to: "storage/\(FileMarker.name)")
        let arbiter = try #require(makeArbiter(.file(path: path)))
        #expect(throws: ArbiterError.self) { try arbiter.record(of: guest, deadline: .seconds(20)) }
        #expect(throws: ArbiterError.self) { try FileMarker.prepare(path) }
    }

    @Test func worksAndLeavesNothingOfAProbe() throws {
        _ = try prepared()
        let check = ArbiterProbe.check(.file(path: path), deadline: .seconds(60))
        #expect(check.outcome == .works, "\(check)")
        #expect(check.steps.count == 9)
        #expect(check.identity?.hasPrefix("storage ") == true)
        #expect(try names(path) == [FileMarker.name])
    }

    @Test func oneWinnerForEachGenerationAmongThreads() throws {
        _ = try prepared()
        let arbiters = try (0..<8).map { _ in try #require(makeArbiter(.file(path: path))) }
        try ArbiterRace.run(arbiters, generations: 12)
    }

    /// Real processes, some of which are killed at any moment; whoever asks again with the same id learns how it ended.
    @Test func oneWinnerForEachGenerationAmongProcesses() throws {
        let arbiter = try prepared()
        for from in 0..<6 as Range<UInt64> {
            let victims = try (1...2).map { try ask(from: from, id: $0) }
            let racers = try (3...6).map { try ask(from: from, id: $0) }
            for victim in victims {
                usleep(UInt32.random(in: 0..<30_000))
                kill(victim.pid, SIGKILL)
                ChildProcess.reap(victim.pid)
            }
            for racer in racers { ChildProcess.reap(racer.pid) }
            let record = try #require(try arbiter.record(of: guest, deadline: .seconds(60)))
            #expect(record.generation == from + 1)
            for racer in racers {
                let said = SmallFile.read(racer.output) ?? ""
                let words = record.id == racer.id ? "granted" : "denied"
                #expect(said.hasPrefix("\(words) \(HexID.text(record.id))"), "\(said)")
            }
            for id in 1...6 as ClosedRange<UInt64> {
                let request = ArbiterRace.request(
                    guest,
                    from: from,
                    owner: "host\(id)",
                    id: id,
                    usedBefore: true
                )
                let answer = arbiter.ask(request, deadline: .seconds(60))
                #expect(answer == (id == record.id ? .granted(record) : .denied(by: record)))
            }
        }
    }

    private struct Asker {
        let pid: Int32
        let id: UInt64
        let output: String
    }

    private func ask(from: UInt64, id: UInt64) throws -> Asker {
        let output = directory.file("said.\(from).\(id)")
        let raw = open(output, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        try #require(raw >= 0)
        let pid = try ChildProcess.spawn(
            Program.path,
            [
                "arbiter", "ask", "file:\(path)", "--guest", "\(guest)", "--from", "\(from)", "--owner",
                "host\(id)", "--id", HexID.text(id), "--timeout", "60s",
            ],
            inherited: [1: Descriptor(owning: raw)]
        )
        return Asker(pid: pid, id: id, output: output)
    }

    /// Dying before each step of a swap leaves the old record or the new one, whole; asking again with the same id ends
    /// granted, and with another id only where the first had not got through.
    @Test(arguments: [true, false])
    func dyingAtAnyStepLeavesOldOrNew(sameAsker: Bool) throws {
        _ = try prepared()
        var deaths = 0
        var outcomes: Set<String> = []
        while true {
            let guest = GuestUUID.random()
            let arbiter = StoreArbiter(FileStore(path: path))
            let first = ArbiterRace.request(guest, from: 0, id: 1)
            let later = UInt64.max
            // The guest's directory is new in half of the cases.
            let from: UInt64 = deaths % 2 == 0 ? 0 : 1
            if from == 1 { #expect(arbiter.ask(first, until: later) == .granted(first.wanted)) }
            let old = from == 1 ? first.wanted : nil
            let request = ArbiterRace.request(guest, from: from, id: 2)
            let left = Mutex(deaths / 2)
            let dying = FileStore(path: path) { (_) throws(ArbiterError) in
                let isDead = left.withLock { left in
                    left -= 1
                    return left < 0
                }
                if isDead { throw ArbiterError("dead") }
            }
            let found = try dying.read(guest, until: later)
            let isDone = (try? dying.swap(guest, from: found, to: request.wanted, until: later)) ?? false
            let seen = try arbiter.record(of: guest, until: later)
            #expect(seen == old || seen == request.wanted)
            outcomes.insert(seen == request.wanted ? "new" : "old")
            if isDone { #expect(seen == request.wanted) }
            let other = ArbiterRace.request(guest, from: from, owner: "beta", id: 3)
            let answer = arbiter.ask(sameAsker ? request : other, until: later)
            if sameAsker || seen == request.wanted {
                #expect(answer == (sameAsker ? .granted(request.wanted) : .denied(by: request.wanted)))
            } else {
                #expect(answer == .granted(other.wanted))
            }
            if sameAsker {
                #expect(try names("\(path)/\(guest)").allSatisfy { !$0.hasPrefix(".") })
            }
            if isDone, deaths % 2 == 1 { break }
            deaths += 1
            try #require(deaths < 100)
        }
        #expect(deaths / 2 >= 7, "each step was died at")
        #expect(outcomes == ["old", "new"])
    }

    /// A record that cannot be read is not made good by an older one, nor taken for none.
    @Test(arguments: ["", "{", "hello", #"{"schema":"remusd.grant/1"}"#])
    func aBrokenRecordIsAnError(text: String) throws {
        let arbiter = try prepared()
        let first = ArbiterRace.request(guest, from: 0, id: 1)
        #expect(arbiter.ask(first, deadline: .seconds(60)) == .granted(first.wanted))
        try directory.write(text, to: "storage/\(guest)/2")
        #expect(throws: ArbiterError.self) { try arbiter.record(of: guest, deadline: .seconds(60)) }
        for (from, usedBefore) in [(0, false), (1, true), (7, false)] as [(UInt64, Bool)] {
            let request = ArbiterRace.request(guest, from: from, id: 2, usedBefore: usedBefore)
            let answer = arbiter.ask(request, deadline: .seconds(60))
            guard case .unavailable(let reason) = answer else {
                Issue.record("\(answer)")
                continue
            }
            #expect(reason.contains("\(guest)/2 holds a record that cannot be used"))
        }
        #expect(try names("\(path)/\(guest)") == ["1", "2"])
    }

    /// Other names are no records: they are left where they are, and count for nothing.
    @Test func otherNamesAreNoRecords() throws {
        let arbiter = try prepared()
        try #require(mkdir("\(path)/\(guest)", 0o700) == 0)
        for name in ["01", "0", "-3", "+3", "3~", "x", ".nfs0001", "99999999999999999999999"] {
            try directory.write("junk", to: "storage/\(guest)/\(name)")
        }
        #expect(try arbiter.record(of: guest, deadline: .seconds(60)) == nil)
        let first = ArbiterRace.request(guest, from: 0, id: 1)
        #expect(arbiter.ask(first, deadline: .seconds(60)) == .granted(first.wanted))
        #expect(try arbiter.record(of: guest, deadline: .seconds(60)) == first.wanted)
    }

    @Test func aLostRecordIsLostMemory() throws {
        let arbiter = try prepared()
        let request = ArbiterRace.request(guest, from: 3, id: 1, usedBefore: true)
        #expect(arbiter.ask(request, deadline: .seconds(60)) == .memoryLost(found: nil))
        let older = ArbiterRace.request(guest, from: 1, id: 2)
        #expect(arbiter.ask(older, deadline: .seconds(60)) == .granted(older.wanted))
        #expect(arbiter.ask(request, deadline: .seconds(60)) == .memoryLost(found: older.wanted))
    }

    /// A file server that does not answer: the deadline is kept, and afterwards it goes on.
    @Test func storageThatHangsIsUnavailable() throws {
        let gate = EventGate()
        _ = try prepared()
        let arbiter = DeadlineArbiter(
            StoreArbiter(FileStore(path: path) { (_) throws(ArbiterError) in gate.wait() })
        )
        let request = ArbiterRace.request(guest, from: 0, id: 1)
        let answer = arbiter.ask(request, deadline: .milliseconds(100))
        #expect(answer == .unavailable("file:\(path): no answer within 100ms"))
        gate.open()
        #expect(arbiter.ask(request, deadline: .seconds(60)) == .granted(request.wanted))
    }

    @Test func saysWhenItIsNoSharedStorage() throws {
        _ = try prepared()
        // /tmp is on a disk, or in memory; never on a file server where these tests run.
        #expect(try ArbiterDirectory(path).localKind() != nil)
        let check = ArbiterProbe.check(.file(path: path), deadline: .seconds(60))
        #expect(check.notes.contains { $0.contains("between two hosts this is no arbiter") })
    }
}
