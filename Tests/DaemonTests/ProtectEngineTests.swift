import Checkpoint
import Glibc
import Logging
import SystemSupport
import Testing
import Transport

@testable import Daemon

/// An engine over a guest that is not there and a standby that nobody is.
@Suite(.timeLimit(.minutes(1))) struct ProtectEngineTests {
    private let directory: TemporaryDirectory
    private let guest = FakeGuest()

    init() throws { directory = try TemporaryDirectory() }

    private func engine(
        _ output: FakeOutput,
        otherStandby: String? = nil,
        outdatedBy: UInt64? = nil,
        standby: ProtectOptions? = nil,
        retry: TimeSpan = .milliseconds(20)
    ) throws -> ProtectEngine {
        // Nobody listens at a port that was free a moment ago.
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        var options = try standby ?? ProtectOptions(standby: TCP.localAddress(of: listener))
        options.settings.aloneAfter = .milliseconds(300)
        options.settings.heartbeat = .milliseconds(200)
        options.settings.retry = retry
        let name = try GuestName("web1")
        let paths = Paths(runtime: directory.path, state: directory.path)
        let records = GenerationStore(
            paths,
            name,
            guest.description,
            peer: options.standby,
            aloneAfter: options.settings.aloneAfter
        )
        var start = try records.begin(plugWasClosed: false)
        start.otherStandby = otherStandby
        start.imageElsewhere = otherStandby != nil
        start.outdatedBy = outdatedBy
        return try ProtectEngine(
            guest: guest,
            output: output,
            options: options,
            identity: PrimaryIdentity(guestPID: 1),
            start: start,
            records: records,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    @Test(arguments: [nil, "127.0.0.1:9"])
    func aReleaseThatFailsAtTheEndIsGivenAgainBeforeRunReturns(_ otherStandby: String?) throws {
        let output = FakeOutput(wasClosed: true)
        output.failures = 3
        let engine = try engine(output, otherStandby: otherStandby)
        engine.requestUnprotect()
        #expect(engine.run() == .unanswered(.unprotect))
        #expect(output.done == ["releaseAll"] && output.attempts == 4)
        #expect(!engine.snapshot.outputOwed)
        let record = try PrimaryRecord.load(from: directory.file("primary-web1.json"))
        #expect(record?.generation == 2)
    }

    @Test func anOutdatedCopyIsDroppedAndNeverReleased() throws {
        let output = FakeOutput(wasClosed: true)
        let engine = try engine(output, outdatedBy: 6)
        engine.requestUnprotect()
        #expect(engine.run() == .outdated(.unprotect))
        #expect(output.done == ["dropAll"])
    }

    @Test func outputOfAGuestThatIsGoneIsNotTriedForLong() throws {
        let output = FakeOutput(wasClosed: true)
        output.fails = true
        guest.end = .shutdown
        let engine = try engine(output)
        let began = Clock.monotonic
        #expect(engine.run() == .unanswered(.shutdown))
        #expect(Clock.monotonic - began < 5_000_000_000)
        #expect(output.done.isEmpty && engine.snapshot.outputOwed)
    }

    @Test func aResolverThatDoesNotAnswerHoldsNothingUp() throws {
        let output = FakeOutput(wasClosed: true)
        let mayAnswer = EventGate()
        let standby = ProtectOptions(standby: SocketAddress(host: "standby.example", port: 7070)) {
            name throws(SystemError) in
            mayAnswer.wait()
            throw SystemError("resolve host \(name.host)", code: 99)
        }
        let engine = try engine(output, standby: standby)
        engine.requestUnprotect()
        #expect(engine.run() == .unanswered(.unprotect))
        #expect(output.done == ["releaseAll"])
        mayAnswer.open()
    }

    @Test func aConnectionThatSaysStrangeThingsIsClosedAtOnce() throws {
        Signals.ignore([SIGPIPE])
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let standby = ProtectOptions(standby: try TCP.localAddress(of: listener))
        // It would be replaced by the next one otherwise.
        let engine = try engine(FakeOutput(), standby: standby, retry: .seconds(600))
        let end = Background {
            guard let socket = try TCP.accept(listener) else { return false }
            let connection = try StandbyConnection(socket)
            let beat = Heartbeat(number: 1, sentAt: Instant(nanoseconds: 1))
            try connection.send(.heartbeat(beat), session: 4711)
            for _ in 0..<1000 where !connection.hasEnded { usleep(10_000) }
            defer { engine.requestUnprotect() }
            return connection.hasEnded
        }
        let result = engine.run()
        #expect(try end.value())
        #expect(result == .nothingToDrop(.unprotect))
    }

    @Test func theOutputIsLookedAfterAndWhatLeaksIsSaid() throws {
        let output = FakeOutput(wasClosed: true)
        output.content = HeldOutput(bytes: 600, packets: 3, dropped: 1, fillPercent: 60)
        output.leaks = ["what vif5.1 sends is NOT HELD"]
        let engine = try engine(output)
        engine.requestUnprotect()
        #expect(engine.run() == .unanswered(.unprotect))
        #expect(output.attended > 1)
        #expect(engine.snapshot.held == output.content)
        #expect(engine.snapshot.leaks == output.leaks)
    }

    @Test func whatStaysIsSaidWithWhatToDo() {
        func words(_ owed: OutputOrders.Order?, isSuspended: Bool, guestHasEnded: Bool = false) -> [String] {
            Aftermath.words(owed: owed, isSuspended: isSuspended, guestHasEnded: guestHasEnded, guest: "web1")
        }
        let both = words(.releaseAll, isSuspended: true)
        #expect(both.count == 2)
        #expect(both.allSatisfy { $0.contains("remusd protect") })
        #expect(words(nil, isSuspended: false).isEmpty)
        #expect(words(.releaseAll, isSuspended: false, guestHasEnded: true).count == 1)
    }

    @Test func theTimeToTryIsBounded() {
        let aftermath = Aftermath(began: Instant(nanoseconds: 5))
        #expect(aftermath.goesOn(at: aftermath.began + .milliseconds(9_999), guestHasEnded: false))
        #expect(!aftermath.goesOn(at: aftermath.began + .seconds(10), guestHasEnded: false))
        #expect(!aftermath.goesOn(at: aftermath.began + .seconds(1), guestHasEnded: true))
    }
}
