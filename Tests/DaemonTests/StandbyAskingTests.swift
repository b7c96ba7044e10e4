import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import Testing
import XenStream

@testable import Daemon

/// A standby with an arbiter: what it asks is written down first, and what it is answered decides.
@Suite struct StandbyAskingTests {
    private final class Witness: GuestActivator {
        let starts = Mutex(0)
        /// What was begun, and, of each, what the record on disk said at that moment.
        let begun = Mutex<[(start: Begun, record: StandbyRecord.State?)]>([])
        private let record: String

        init(record: String) { self.record = record }

        final class Begun: BegunStart {
            let isAbandoned = Mutex(false)
            func abandon() { isAbandoned.withLock { $0 = true } }
        }

        func runningGuest(named name: String, uuid: GuestUUID, unfinished: UnfinishedStart?)
            -> ActivatedGuest?
        {
            nil
        }
        func outlook(for description: GuestDescription) -> ActivationOutlook {
            ActivationOutlook(obstacles: [])
        }
        func missingResources(for request: ActivationRequest) -> [String] { [] }
        func begin(_ request: ActivationRequest) -> (any BegunStart)? {
            let start = Begun()
            let state = try? StandbyRecord.load(from: record)?.state
            begun.withLock { $0.append((start, state)) }
            return start
        }
        func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
            let begun = begun.withLock { $0.last?.start }
            #expect(request.begun as? Begun === begun && begun?.isAbandoned.withLock { $0 } == false)
            let state = try? StandbyRecord.load(from: record)?.state
            #expect(state == .active, "written down before it starts")
            starts.withLock { $0 += 1 }
            throw GuestError(guest: request.description.name, reason: "a witness starts nothing")
        }
    }

    private let directory: TemporaryDirectory
    private let name: GuestName
    private let paths: Paths
    private let witness: Witness

    init() throws {
        directory = try TemporaryDirectory()
        name = try GuestName("db")
        paths = Paths(runtime: directory.path, state: directory.path)
        witness = Witness(record: paths.standbyRecord(name))
    }

    /// The starts that were begun are over, and were begun before anything was granted.
    private func expectBegun(_ count: Int, sourceLocation: SourceLocation = #_sourceLocation) {
        let begun = witness.begun.withLock { $0 }
        #expect(begun.count == count, sourceLocation: sourceLocation)
        #expect(begun.allSatisfy { $0.start.isAbandoned.withLock { $0 } }, sourceLocation: sourceLocation)
    }

    /// Holds an image of generation 5, whose primary is gone since a moment.
    private func guest(_ arbiter: StubArbiter, disk: Bool = false) throws -> StandbyGuest {
        let guest = StandbyGuest(
            name: name,
            paths: paths,
            guardian: try .served(at: paths.guardianSocket()),
            machine: StandbyMachine(facts: StandbyFacts(), image: nil, host: "beta"),
            image: nil,
            arbiter: StandbyArbiter(arbiter: arbiter)
        )
        _ = try guest.handle(.hello(hello(arbiter.name, disk: disk), room, on: 1))
        _ = try guest.handle(.epochWhole(0, on: 1))
        _ = try guest.handle(.connectionLost(1))
        return guest
    }

    private func hello(_ arbiter: String?, disk: Bool = false) -> Hello {
        var hello = Hello.sample(
            address: "127.0.0.1:6400",
            generation: 5,
            session: 9,
            populatedPages: 1,
            epochCapacity: 1 << 16,
            bootID: "b00t",
            protectProcess: ProcessIdentity(pid: 10, startTime: 100),
            guestProcess: ProcessIdentity(pid: 11, startTime: 101)
        )
        hello.arbiter = arbiter
        hello.hasUnreplicatedDisk = disk
        return hello
    }

    private let room = MemoryVerdict(ceiling: 1 << 30, used: 0, needed: 1)
    private let ours = GrantRecord(generation: 5, owner: "alpha", id: 3)

    private func record() throws -> StandbyRecord {
        try #require(try StandbyRecord.load(from: paths.standbyRecord(name)))
    }

    @Test func granted() throws {
        let arbiter = StubArbiter(ours)
        let guest = try guest(arbiter)
        let reply = guest.activate(ActivateRequest(), with: witness)
        // The start itself fails here, after the grant.
        #expect(reply.outcome == .tryAgain && witness.starts.withLock { $0 } > 0)
        #expect(witness.begun.withLock { $0.first?.record } == .image)
        expectBegun(1)
        let request = try #require(arbiter.asked.first)
        #expect(request.from == 5 && request.usedBefore)
        let kept = try record()
        #expect(kept.state == .active && kept.generation == 6 && kept.arbiter?.generation == 6)
        #expect(kept.id == String(request.wanted.id, radix: 16))
        // A grant is permanent: the start is tried again, and nobody asked.
        _ = guest.activate(ActivateRequest(), with: witness)
        #expect(arbiter.asked.count == 1)
    }

    @Test func denied() throws {
        let arbiter = StubArbiter(GrantRecord(generation: 6, owner: "alpha", id: 4))
        let guest = try guest(arbiter)
        let reply = guest.activate(ActivateRequest(), with: witness)
        #expect(reply.outcome == .arbiterDenied && reply.exitCode == 11)
        expectBegun(1)
        #expect(try record().state == .image && witness.starts.withLock { $0 } == 0)
    }

    @Test func withoutAnAnswerTheWishStays() throws {
        let arbiter = StubArbiter(ours, answers: [.unavailable("down"), .memoryLost(found: nil)])
        let guest = try guest(arbiter)
        #expect(guest.activate(ActivateRequest(), with: witness).exitCode == 75)
        let wish = try #require(try record().arbiter?.wish)
        #expect(guest.activate(ActivateRequest(), with: witness).exitCode == 75)
        #expect(Set(arbiter.asked.map(\.wanted.id)) == [UInt64(wish.id, radix: 16) ?? 0])
        #expect(witness.starts.withLock { $0 } == 0)
    }

    @Test func aDryRunAsksNobody() throws {
        let arbiter = StubArbiter(ours)
        let guest = try guest(arbiter)
        #expect(guest.activate(ActivateRequest(dryRun: true), with: witness).outcome == .wouldActivate)
        expectBegun(0)
        #expect(arbiter.asked.isEmpty)
    }

    @Test func aDiskThatNobodyReplicatesWantsAWordToo() throws {
        let arbiter = StubArbiter(ours)
        let guest = try guest(arbiter, disk: true)
        #expect(guest.activate(ActivateRequest(), with: witness).outcome == .fencingUnconfirmed)
        #expect(arbiter.asked.isEmpty)
        expectBegun(0)
        _ = guest.activate(ActivateRequest(confirmFenced: "alpha"), with: witness)
        #expect(arbiter.asked.count == 1)
    }

    @Test func aForcedActivationMakesTheRecordItsOwn() throws {
        let arbiter = StubArbiter(GrantRecord(generation: 8, owner: "alpha", id: 4))
        let guest = try guest(arbiter)
        var order = ActivateRequest(confirmFenced: "alpha", ifGeneration: 5, force: true)
        #expect(guest.activate(order, with: witness).outcome == .mayRollBack)
        order.acceptRollback = true
        #expect(guest.activate(order, with: witness).outcome == .tryAgain)
        #expect(try record().generation == 9)
        #expect(arbiter.state.withLock { $0.record?.generation } == 9)
        var other = order
        other.ifGeneration = 4
        #expect(guest.activate(other, with: witness).outcome == .generationMismatch)
    }

    private func audit() throws -> [AuditEntry] {
        try (SmallFile.read(paths.audit) ?? "").split(separator: "\n").map {
            try ControlJSON.decode(AuditEntry.self, from: Array($0.utf8))
        }
    }

    @Test func aForcedActivationIsAudited() throws {
        let guest = try guest(StubArbiter(GrantRecord(generation: 8, owner: "alpha", id: 4)))
        var order = ActivateRequest(confirmFenced: "alpha", ifGeneration: 5, force: true)
        _ = guest.activate(order, with: witness)
        #expect(try audit().isEmpty, "what was refused changed nothing")
        order.acceptRollback = true
        let who = Speaker(.own)
        _ = guest.activate(order, with: witness, by: who)
        let entries = try audit()
        #expect(entries.map(\.outcome) == ["taken", "try_again"])
        let first = try #require(entries.first)
        #expect(first.act == .activate && first.guest == "db" && first.who == who)
        #expect(first.said.force == true && first.said.acceptRollback == true && first.said.ifGeneration == 5)
        #expect(first.generationBefore == 5 && entries.last?.generationAfter == 9)
    }

    @Test(arguments: [false, true])
    func aWordThatCannotBeWrittenDownIsNotTaken(force: Bool) throws {
        let arbiter = StubArbiter(ours)
        let guest = try guest(arbiter)
        try SmallFile.makeDirectories(paths.audit)
        var order = ActivateRequest(confirmFenced: "alpha", acceptRollback: true)
        if force { (order.ifGeneration, order.force) = (5, true) }
        let reply = guest.activate(order, with: witness)
        #expect(reply.outcome == .tryAgain && reply.message.contains(paths.audit))
        expectBegun(1)
        #expect(arbiter.asked.isEmpty && witness.starts.withLock { $0 } == 0)
        #expect(try record().state == .image)
        // Where nobody vouches for anything there is nothing to write down; nor after the grant.
        _ = guest.activate(ActivateRequest(), with: witness)
        #expect(try record().state == .active)
        let starts = witness.starts.withLock { $0 }
        _ = guest.activate(order, with: witness)
        #expect(witness.starts.withLock { $0 } > starts)
    }

    @Test func aPersonVouchesWhereNothingDecides() throws {
        let arbiter = StubArbiter(name: "manual", decides: false)
        let guest = try guest(arbiter)
        #expect(guest.activate(ActivateRequest(), with: witness).outcome == .fencingUnconfirmed)
        _ = guest.activate(ActivateRequest(confirmFenced: "alpha"), with: witness)
        #expect(try record().state == .active && arbiter.asked.isEmpty)
    }

    @Test func bothSidesHaveTheSameArbiter() throws {
        let guest = try guest(StubArbiter(ours))
        #expect(
            guest.state.withLock { $0.machine.refusal(of: hello("another"), at: StandbyGuest.now)?.reason }
                == .arbiterDiffers
        )
        #expect(
            guest.state.withLock { $0.machine.refusal(of: hello(nil), at: StandbyGuest.now)?.reason }
                == .arbiterDiffers
        )
    }
}
