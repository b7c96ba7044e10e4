import Checkpoint
import Glibc
import Logging
import Synchronization
import SystemSupport
import Testing
import Transport
import XenStream

@testable import Daemon

/// A real engine and a real standby over loopback, with and without encoded pages and sweeps: the image is the guest's memory.
@Suite(.timeLimit(.minutes(2))) struct EncodedProtectionTests {
    private let directory: TemporaryDirectory
    private let paths: Paths
    private let guest = WritingGuest(pages: 256, seed: 5, writesEarly: true)
    private let service: StandbyService

    init() throws {
        Signals.ignore([SIGPIPE])
        directory = try TemporaryDirectory()
        paths = Paths(runtime: directory.path, state: directory.path)
        try Guardian.serve(at: paths.guardianSocket())
        var options = StandbyOptions(listen: SocketAddress(host: "127.0.0.1", port: 0), paths: paths)
        options.log = CapturedLog().logger
        service = try StandbyService(
            options,
            activator: Activators(embedded: NoActivator(), xen: NoActivator())
        )
        let service = service
        try WorkerThread("standby") { service.run() }.detach()
    }

    /// An engine that protects on a thread of its own.
    private func protect(
        _ encoding: EncodingChoice,
        sweepsFrom sweeps: Int? = nil
    ) throws -> (engine: ProtectEngine, thread: WorkerThread) {
        var options = ProtectOptions(standby: service.address)
        options.settings.interval = .milliseconds(5)
        options.settings.retry = .milliseconds(20)
        options.encoding = encoding
        options.settings.sweepsFrom = sweeps
        let records = GenerationStore(
            paths,
            try GuestName("web1"),
            guest.description,
            peer: options.standby,
            aloneAfter: options.settings.aloneAfter
        )
        let engine = try ProtectEngine(
            guest: guest,
            output: FakeOutput(),
            options: options,
            identity: PrimaryIdentity(guestPID: 1),
            start: try records.begin(plugWasClosed: false),
            records: records,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        return (engine, try WorkerThread("protect") { _ = engine.run() })
    }

    /// Waits until what the guest has written by now is committed.
    private func settle(_ engine: ProtectEngine) throws {
        let deadline = Clock.monotonic + 60_000_000_000
        while guest.isBusy, Clock.monotonic < deadline { usleep(1000) }
        let target = (engine.snapshot.status.acked ?? 0) + 3
        while (engine.snapshot.status.acked ?? 0) < target, Clock.monotonic < deadline { usleep(1000) }
        try #require((engine.snapshot.status.acked ?? 0) >= target)
    }

    private func end(_ engine: ProtectEngine, _ thread: WorkerThread) {
        engine.requestUnprotect()
        thread.join()
        service.stop()
    }

    private var image: StandbyImage {
        get throws { try #require(service.guest(named: "web1")?.state.withLock { $0.image?.image }) }
    }

    private func expectEqual() throws {
        let image = try image
        for (pfn, page) in guest.pages.enumerated() where Array(image.page(pfn)) != page {
            Issue.record("page \(pfn) of the image is not the guest's")
        }
    }

    @Test func anImageOfDifferencesIsTheGuestsMemory() throws {
        guest.write(epochs: 20)
        let (engine, thread) = try protect(.delta)
        defer { end(engine, thread) }
        try settle(engine)
        try expectEqual()
        let meters = engine.snapshot.meters
        #expect(meters.wireBytes > 0 && meters.wireBytes < meters.streamBytes / 2)
    }

    /// Pages go as they are, unless somebody wants it otherwise.
    @Test func plainIsPlain() throws {
        guest.write(epochs: 3)
        let (engine, thread) = try protect(ProtectOptions(standby: service.address).encoding)
        defer { end(engine, thread) }
        try settle(engine)
        try expectEqual()
        let meters = engine.snapshot.meters
        #expect(meters.wireBytes > meters.streamBytes)
    }

    /// The connection is lost again and again, between two epochs, within a sweep, or before the ack: nothing is lost with it, and the
    /// session goes on.
    @Test(arguments: [EncodingChoice.plain, .delta])
    func whatWasSweptOutlivesTheConnection(_ encoding: EncodingChoice) throws {
        let (engine, thread) = try protect(encoding, sweepsFrom: 5)
        defer { end(engine, thread) }
        try settle(engine)
        let session = engine.snapshot.status.session
        var random = SplitMix(state: 7)
        for _ in 0..<60 {
            guest.write(epochs: 40)
            usleep(UInt32.random(in: 100...20_000, using: &random))
            service.guest(named: "web1")?.state.withLock { state in
                for connection in state.connections.values { connection.shutDown() }
            }
            usleep(30_000)
        }
        try settle(engine)
        try expectEqual()
        #expect(engine.snapshot.status.session == session)
    }

    /// A byte of the image that is not what was sent: found by the checksum, never acknowledged, and mended by what is sent
    /// next, without a new session.
    @Test func anImageThatDiffersIsMendedAndTheSessionGoesOn() throws {
        guest.write(epochs: 3)
        let (engine, thread) = try protect(.delta)
        defer { end(engine, thread) }
        try settle(engine)
        let session = engine.snapshot.status.session
        for round in 1...3 {
            try image.memory[round * guestPageSize + 100] ^= 0x10
            guest.change(round, 7)
            try settle(engine)
            try expectEqual()
        }
        #expect(engine.snapshot.status.session == session)
        #expect(engine.snapshot.status.state == .protected)
    }
}
