import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import Testing
import Transport
import XenStream

@testable import Daemon

/// A real engine and a real standby over loopback, with and without encoded pages and sweeps: the image is the guest's memory.
@Suite(.timeLimit(.minutes(2))) struct EncodedProtectionTests {
    private let guest = WritingGuest(pages: 256, seed: 5, writesEarly: true)
    private let pair: LoopbackPair
    private var service: StandbyService { pair.service }

    init() throws { pair = try LoopbackPair(guest) }

    /// An engine that protects on a thread of its own.
    private func protect(
        _ encoding: EncodingChoice,
        sweepsFrom sweeps: Int? = nil
    ) throws -> (engine: ProtectEngine, thread: WorkerThread) {
        try pair.protect { options in
            options.settings.interval = .milliseconds(5)
            options.settings.retry = .milliseconds(20)
            options.settings.sweepsFrom = sweeps
            options.encoding = encoding
        }
    }

    /// Waits until what the guest has written by now is committed.
    private func settle(_ engine: ProtectEngine) throws {
        let deadline = Clock.monotonic + 60_000_000_000
        while guest.isBusy, Clock.monotonic < deadline { usleep(1000) }
        let target = (engine.snapshot.status.acked ?? 0) + 3
        while (engine.snapshot.status.acked ?? 0) < target, Clock.monotonic < deadline { usleep(1000) }
        try #require((engine.snapshot.status.acked ?? 0) >= target)
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
        defer { pair.end(engine, thread) }
        try settle(engine)
        try expectEqual()
        let meters = engine.snapshot.meters
        #expect(meters.wireBytes > 0 && meters.wireBytes < meters.streamBytes / 2)
    }

    /// Zeros by name and LZ4, unless somebody wants it otherwise: no memory for what was sent last.
    @Test func byItselfPagesGoWithoutMemoryOfThem() throws {
        let usual = ProtectOptions(standby: service.address).encoding
        #expect(usual.encodings == .selfContained)
        guest.write(epochs: 3)
        let (engine, thread) = try protect(usual)
        defer { pair.end(engine, thread) }
        try settle(engine)
        try expectEqual()
        let meters = engine.snapshot.meters
        #expect(meters.wireBytes > 0 && meters.wireBytes < meters.streamBytes)
    }

    @Test func plainIsPlain() throws {
        guest.write(epochs: 3)
        let (engine, thread) = try protect(.plain)
        defer { pair.end(engine, thread) }
        try settle(engine)
        try expectEqual()
        let meters = engine.snapshot.meters
        #expect(meters.wireBytes > meters.streamBytes)
    }

    /// The connection is lost again and again, between two epochs, within a sweep, or before the ack: nothing is lost with it, and the
    /// session goes on.
    @Test(arguments: EncodingChoice.allCases)
    func whatWasSweptOutlivesTheConnection(_ encoding: EncodingChoice) throws {
        let (engine, thread) = try protect(encoding, sweepsFrom: 5)
        defer { pair.end(engine, thread) }
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
        defer { pair.end(engine, thread) }
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
