import Checkpoint
import Glibc
import Logging
import Synchronization
import SystemSupport
import Testing
import XenHost
import XenStream

@testable import Daemon

/// A builder that only reads, and counts.
private final class ReadingBuilder: WarmBuilder {
    let count = Mutex(0)
    let isAborted = Mutex(false)

    func build(from stream: Descriptor) throws(XenError) -> UInt32 {
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
        defer { target.deallocate() }
        while !isAborted.withLock({ $0 }) {
            guard Poll.wait(stream.raw, milliseconds: 10) else { continue }
            let got = read(stream.raw, target.baseAddress, target.count)
            if got <= 0 { return 3 }
            count.withLock { $0 += got }
        }
        throw XenError("aborted")
    }

    func abort() { isAborted.withLock { $0 = true } }
    func run(_ domid: UInt32) throws(XenError) {}
    func destroy(_ domid: UInt32) {}
    func accompany(_ domid: UInt32) {}
}

/// A standby that keeps a guest warm: what it loses with the helper, and what a later daemon finds.
@Suite(.timeLimit(.minutes(1)))
struct WarmStandbyTests {
    private let directory: TemporaryDirectory
    private let name: GuestName
    private let paths: Paths
    private let guardian: GuardianClient
    private let room = MemoryVerdict(ceiling: 1 << 30, used: 0, needed: 1)

    init() throws {
        directory = try TemporaryDirectory()
        name = try GuestName("db")
        paths = Paths(runtime: directory.path, state: directory.path)
        guardian = try .served(at: paths.guardianSocket())
    }

    private var socket: String { directory.file("warm-db.sock") }

    private func startHelper(_ builder: ReadingBuilder) throws {
        let helper = try WarmHelper(path: socket, builder: builder)
        nonisolated(unsafe) let running = helper
        try WorkerThread("helper") { running.run() }.detach()
    }

    private func hello(session: UInt64 = 9) -> Hello {
        .sample(
            generation: 5,
            session: session,
            imageStillValid: true,
            populatedPages: 1,
            epochCapacity: 1 << 16,
            bootID: "b00t"
        )
    }

    /// A guest whose epoch 0 is committed in a domain that `builder` builds.
    private func warmGuest(_ builder: ReadingBuilder) throws -> StandbyGuest {
        let socket = socket
        try startHelper(builder)
        let guest = StandbyGuest(
            name: name,
            paths: paths,
            guardian: guardian,
            machine: StandbyMachine(facts: StandbyFacts(), image: nil, host: "beta"),
            image: nil,
            warmer: { _ in try WarmGuest.connect(to: socket, guest: "db") }
        )
        _ = try guest.handle(.hello(hello(), room, on: 1))
        try guest.state.withLock { try $0.incoming?.warm?.whole {} }
        _ = try guest.handle(.epochWhole(0, on: 1))
        return guest
    }

    /// Seals epoch 1, 100 bytes of it, and leaves it unfed.
    private func seal(_ guest: StandbyGuest) throws {
        guest.sealedLength.store(100, ordering: .relaxed)
        #expect(try guest.handle(.epochWhole(1, on: 1)) == 1)
    }

    private var options: StandbyOptions {
        get throws {
            var options = StandbyOptions(listen: try #require(SocketAddress("127.0.0.1:0")), paths: paths)
            options.warmGuest = { [socket] in try WarmGuest.connect(to: socket, guest: $0) }
            return options
        }
    }

    private func adopt() throws -> StandbyGuest {
        let nothing = Activators(embedded: NoActivator(), xen: NoActivator())
        return try #require(
            try StandbyAdoption(try options, guardian, nothing, nil, Logger(label: "test")).guests().first
        )
    }

    @Test func aDomainThatIsLostIsAnImageThatIsLost() throws {
        let builder = ReadingBuilder()
        let guest = try warmGuest(builder)
        #expect(guest.status(ceiling: 1, used: 0).activation == "warm")
        builder.abort()
        let warm = try #require(guest.state.withLock { $0.image?.warm })
        while !warm.isGone { _ = Poll.wait(-1, milliseconds: 5) }
        let status = guest.status(ceiling: 1, used: 0)
        #expect(status.reasons.contains { $0.contains("the image is lost: aborted") }, "\(status.reasons)")
        #expect(status.state == .empty && !status.mayActivate)
        #expect(guest.state.withLock { $0.image == nil && $0.machine.liveConnection == nil })
        // The next session begins with a full sync, and then nothing is lost any more.
        try startHelper(ReadingBuilder())
        _ = try guest.handle(.hello(hello(), room, on: 2))
        try guest.state.withLock { try $0.incoming?.warm?.whole {} }
        _ = try guest.handle(.epochWhole(0, on: 2))
        let after = guest.status(ceiling: 1, used: 0)
        #expect(
            !after.reasons.contains { $0.contains("lost") } && after.epoch.committed == 0,
            "\(after.reasons)"
        )
        guest.state.withLock { $0.image }?.warm?.drop()
    }

    @Test func aLaterDaemonFeedsWhatWasSealed() throws {
        let builder = ReadingBuilder()
        let guest = try warmGuest(builder)
        try seal(guest)
        let found = try adopt()
        let image = try #require(found.state.withLock { $0.image })
        #expect(image.image.epoch == 1 && !image.image.awaitsApply)
        #expect(try image.warm?.ask().fed == 1)
        // Once more, with nothing left to feed.
        let again = try adopt()
        #expect(try again.state.withLock { $0.image }?.warm?.ask().fed == 1)
        again.state.withLock { $0.image }?.warm?.drop()
        #expect(builder.count.withLock { $0 } == 100)
    }

    @Test func aDomainThatHoldsAnotherEpochIsGivenUp() throws {
        let builder = ReadingBuilder()
        let guest = try warmGuest(builder)
        try seal(guest)
        let stored = try #require(guest.state.withLock { $0.image })
        try stored.apply(1) {}
        stored.image.seal(3, length: 100, at: Instant(nanoseconds: 1))
        let found = try adopt()
        #expect(found.state.withLock { $0.image == nil })
        while !(stored.warm?.isGone ?? true) { _ = Poll.wait(-1, milliseconds: 5) }
    }
}
