import Checkpoint
import Glibc
import Logging
import SystemSupport
import Testing
import Transport

@testable import Daemon

/// An engine over a guest that is not there, without a standby, with an arbiter: asked on a thread of its own, and what it
/// says is written down.
@Suite(.timeLimit(.minutes(1))) struct ProtectArbiterTests {
    private let directory: TemporaryDirectory
    private let guest = FakeGuest()

    init() throws { directory = try TemporaryDirectory() }

    private func records(_ arbiter: ArbiterChoice?) throws -> GenerationStore {
        GenerationStore(
            Paths(runtime: directory.path, state: directory.path),
            try GuestName("web1"),
            guest.description,
            peer: SocketAddress(host: "127.0.0.1", port: 9),
            aloneAfter: .seconds(2),
            arbiter: arbiter
        )
    }

    private func engine(_ output: FakeOutput, _ arbiter: StubArbiter, disks: [String] = []) throws
        -> ProtectEngine
    {
        // Nobody listens at a port that was free a moment ago.
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        var options = ProtectOptions(standby: try TCP.localAddress(of: listener))
        options.settings.aloneAfter = .seconds(2)
        options.settings.retry = .milliseconds(20)
        options.arbiter = arbiter
        options.unreplicatedDisks = disks
        let records = try records(options.arbiterChoice)
        // A predecessor protected it at the standby of this record.
        if output.wasClosed { _ = try records.begin(plugWasClosed: false) }
        return try ProtectEngine(
            guest: guest,
            output: output,
            options: options,
            identity: PrimaryIdentity(guestPID: 1),
            start: try records.begin(plugWasClosed: output.wasClosed),
            records: records,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    private func record() throws -> PrimaryRecord {
        try #require(try PrimaryRecord.load(from: directory.file("primary-web1.json")))
    }

    /// Runs the engine until something is reached, and then to its end.
    private func run(_ engine: ProtectEngine, until isReached: @escaping @Sendable () -> Bool) throws
        -> ProtectResult
    {
        let watcher = try WorkerThread("watcher") {
            let deadline = Clock.monotonic + 30_000_000_000
            while !isReached(), Clock.monotonic < deadline { usleep(10_000) }
            engine.requestUnprotect()
        }
        defer { watcher.join() }
        return engine.run()
    }

    @Test func aFirstStartCreatesTheRecord() throws {
        let arbiter = StubArbiter()
        let result = try run(try engine(FakeOutput(), arbiter)) { !arbiter.asked.isEmpty }
        #expect(result == .nothingToDrop(.unprotect))
        #expect(arbiter.asked.first?.usedBefore == false)
        let kept = try record().arbiter
        #expect(
            kept?.name == "stub" && kept?.generation == 1 && kept?.usedBefore == true && kept?.wish == nil
        )
    }

    @Test func withoutAnAnswerNothingBegins() throws {
        let arbiter = StubArbiter(answers: [.unavailable("down")])
        #expect(try engine(FakeOutput(), arbiter).run() == .noGrant("down"))
        // What was asked may have been granted: it is asked again with its own id.
        let wish = try #require(try record().arbiter?.wish)
        let second = StubArbiter(answers: [.unavailable("down")])
        #expect(try engine(FakeOutput(), second).run() == .noGrant("down"))
        #expect(second.asked.first?.wanted.id == UInt64(wish.id, radix: 16))
    }

    @Test func overAClosedPlugItHoldsAndThenGoesOnByTheGrant() throws {
        let output = FakeOutput(wasClosed: true)
        let arbiter = StubArbiter(answers: [.unavailable("down")])
        let engine = try engine(output, arbiter)
        let result = try run(engine) { engine.snapshot.status.state == .alone }
        #expect(result == .nothingToDrop(.unprotect))
        #expect(output.done == ["releaseAll"])
        // Asked twice for the beginning, once to go on alone.
        let asked = arbiter.asked
        #expect(asked.count == 3 && asked[0] == asked[1])
        #expect(try record().generation == asked[2].wanted.generation)
    }

    @Test func somebodysWordIsEnough() throws {
        let output = FakeOutput(wasClosed: true)
        let arbiter = StubArbiter(answers: Array(repeating: .unavailable("down"), count: 1000))
        let engine = try engine(output, arbiter)
        let speaker = try WorkerThread("speaker") {
            while arbiter.asked.isEmpty { usleep(10_000) }
            engine.requestContinuation()
        }
        let result = try run(engine) { engine.snapshot.status.state == .alone }
        speaker.join()
        #expect(result == .nothingToDrop(.unprotect) && output.done == ["releaseAll"])
        #expect(try record().arbiter?.usedBefore == false)
    }

    @Test func deniedItIsOutdatedDurably() throws {
        let output = FakeOutput(wasClosed: true)
        let engine = try engine(output, StubArbiter(GrantRecord(generation: 9, owner: "beta", id: 1)))
        let result = try run(engine) { engine.snapshot.status.state == .outdated }
        #expect(result == .outdated(.unprotect) && output.done == ["dropAll"])
        #expect(try record().outdatedBy == 9)
    }

    // MARK: A disk that nobody replicates

    @Test func aGuestWithADiskStandsStillWhileItIsAskedFor() throws {
        let output = FakeOutput(wasClosed: true)
        let engine = try engine(output, StubArbiter(answers: [.unavailable("down")]), disks: ["xvda"])
        let result = try run(engine) { engine.snapshot.status.state == .alone }
        #expect(result == .nothingToDrop(.unprotect) && output.done == ["releaseAll"])
        // For the beginning, and to go on alone.
        #expect(guest.pauses == ["pause", "unpause", "pause", "unpause"])
    }

    @Test func outdatedItStaysPaused() throws {
        let arbiter = StubArbiter(GrantRecord(generation: 9, owner: "beta", id: 1))
        let engine = try engine(FakeOutput(wasClosed: true), arbiter, disks: ["xvda"])
        let result = try run(engine) { engine.snapshot.status.state == .outdated }
        #expect(result == .outdated(.unprotect) && guest.pauses == ["pause"])
    }

    @Test func whatAPredecessorPausedRuns() throws {
        let arbiter = StubArbiter()
        _ = try run(try engine(FakeOutput(), arbiter, disks: ["xvda"])) { !arbiter.asked.isEmpty }
        #expect(guest.pauses == ["unpause"])
    }

    @Test func nothingIsAskedBeforeItStandsStill() throws {
        let arbiter = StubArbiter()
        let engine = try engine(FakeOutput(), arbiter, disks: ["xvda"])
        let wanted = GrantRecord(generation: 2, owner: "alpha", id: 1)
        let request = GrantRequest(guest: guest.description.uuid, from: 1, wanted: wanted, usedBefore: true)
        guest.pauseFailures = 1
        engine.standStill(true)
        engine.askArbiter(request)
        guard case .arbiterAnswered(.unavailable(let reason))? = engine.events.last else {
            Issue.record("\(engine.events)")
            return
        }
        #expect(reason.contains("busy") && arbiter.asked.isEmpty)
        engine.standStill(true)
        #expect(engine.obstacleToAsking == nil && guest.pauses.last == "pause")
        // What may run, and is kept from it, is owed.
        guest.pauseFailures = 1
        engine.standStill(false)
        #expect(engine.standstill.owesRun)
        engine.standStill(false)
        #expect(!engine.standstill.owesRun && guest.pauses.last == "unpause")
    }

    @Test func theArbiterIsNotChangedOverHeldOutput() throws {
        _ = try records(ArbiterChoice(name: "a", decides: true)).begin(plugWasClosed: false)
        for other in [
            nil, ArbiterChoice(name: "b", decides: true), ArbiterChoice(name: "manual", decides: false),
        ] {
            #expect(throws: ArbiterChanged(recorded: "a", configured: other?.name)) {
                try records(other).begin(plugWasClosed: true)
            }
        }
        _ = try records(ArbiterChoice(name: "b", decides: true)).begin(plugWasClosed: false)
        #expect(try record().arbiter?.name == "b")
    }
}
