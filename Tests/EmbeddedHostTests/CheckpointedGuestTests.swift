import Checkpoint
import EmbeddedHost
import Glibc
import SystemSupport
import Testing

/// Real guest processes under a controller: images, plug, and what happens when somebody dies or stops.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct CheckpointedGuestTests {
    @Test(arguments: [DirtyTracking.pagemap, .compare])
    func imageUnderLoadIsConsistentAndAnswers(_ tracking: DirtyTracking) throws {
        let process = try GuestProcess()
        let guest = try process.control(tracking)
        #expect(guest.trackingMethod == tracking)
        let replica = try Replica(guest)
        let address = process.address
        let stopping = Monitor(false)
        // Two writers that never wait for replies to be released: pairs of counters that a command boundary may
        // separate by one, never more.
        let writers = try (0..<2).map { writer in
            try WorkerThread("writer\(writer)") {
                guard let client = try? Client(address) else { return }
                var count = 0
                while !stopping.withLock({ $0 }) {
                    count += 1
                    var batch: [UInt8] = []
                    for _ in 0..<8 {
                        batch +=
                            Client.request(["INCR", "a\(writer)"]) + Client.request(["INCR", "b\(writer)"])
                    }
                    batch += Client.request(["SET", "w\(writer):\(count % 5000)", "value \(count)"])
                    guard (try? client.send(batch)) != nil else { return }
                    for _ in 0..<17 { if client.reply() == nil { return } }
                }
            }
        }
        try replica.start()
        for _ in 0..<30 {
            usleep(10_000)
            try replica.checkpoint()
            try guest.output.release(epoch: replica.epoch)
        }
        var populated = PageBitmap(pageCount: guest.description.pageCount)
        try replica.checkpoint {
            // Whatever the tracker missed would show here: every page of the image is the guest's.
            try guest.collectPopulated(into: &populated)
            let fresh = try Replica(guest)
            try fresh.copy(populated)
            #expect(memcmp(fresh.image.base, replica.image.base, fresh.image.count) == 0)
        }
        try guest.output.release(epoch: replica.epoch)
        stopping.withLock { $0 = true }
        for writer in writers { writer.join() }

        let other = try RuntimeDirectory()
        let second = EmbeddedActivator(runtimeDirectory: other.path, executable: try builtRemusd())
        let request = ActivationRequest(
            description: guest.description,
            memoryDescriptor: replica.file.raw,
            stateRecords: replica.state,
            address: "127.0.0.1:0",
            writePlainImage: { _, _ in }
        )
        #expect(second.missingResources(for: request) == [])
        let started = try second.start(request)
        let pid = try #require((started.guest as? EmbeddedProcess)?.pid)
        defer { kill(pid, SIGKILL) }
        let reborn = try Client(try #require(SocketAddress(started.address)))
        for writer in 0..<2 {
            let a = try #require(Int(try reborn.ask("GET", "a\(writer)") ?? ""))
            let b = try #require(Int(try reborn.ask("GET", "b\(writer)") ?? ""))
            #expect(a == b || a == b + 1)
            #expect(a > 0)
            for key in 0..<5000 {
                let value = try reborn.ask("GET", "w\(writer):\(key)") ?? ""
                #expect(value == "(nil)" || value.hasPrefix("value "))
            }
        }
        #expect(second.missingResources(for: request) == ["a guest named g1 runs here already"])
    }
}

/// Guests that stop, end, or are spoken to by strangers.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct GuestEndTests {
    private func inMilliseconds(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: Clock.boot + milliseconds * 1_000_000)
    }

    @Test func aStoppedGuestRefusesInTimeAndComesBack() throws {
        let process = try GuestProcess()
        let guest = try process.control()
        let client = try Client(process.address)
        kill(process.pid, SIGSTOP)
        for _ in 0..<3 {
            let start = Clock.monotonic
            #expect(try guest.suspend(deadline: inMilliseconds(50)) == .refused)
            #expect(Clock.monotonic - start < 500_000_000)
        }
        #expect(guest.ended() == nil)
        kill(process.pid, SIGCONT)
        #expect(try client.ask("PING") == "+PONG", "the withdrawn request does not stop it")
        #expect(try guest.suspend(deadline: inMilliseconds(2000)) == .suspended)
        try client.send("PING")
        #expect(client.reply(milliseconds: 100) == nil, "suspended, nothing runs")
        try guest.resume()
        #expect(client.reply() == "+PONG")
    }

    @Test func aKilledGuestHasCrashed() throws {
        let process = try GuestProcess()
        let guest = try process.control()
        #expect(guest.ended() == nil)
        kill(process.pid, SIGKILL)
        var entry = pollfd(fd: guest.eventDescriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 2000) == 1)
        #expect(try guest.suspend(deadline: inMilliseconds(1000)) == .ended(.crashed))
        #expect(guest.ended() == .crashed)
        #expect(throws: GuestError.self) { try guest.output.cut(epoch: 1) }
    }

    @Test func aShutdownIsAnnouncedAndWaitsForTheController() throws {
        let process = try GuestProcess()
        let guest = try process.control()
        let client = try Client(process.address)
        #expect(try guest.suspend(deadline: inMilliseconds(1000)) == .suspended)
        try guest.output.cut(epoch: 1)
        try guest.resume()
        try client.send("INCR", "n")
        for _ in 0..<100 where guest.output.heldBytes() == 0 { usleep(5000) }
        kill(process.pid, SIGTERM)
        var entry = pollfd(fd: guest.eventDescriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 1000) == 1)
        #expect(guest.ended() == .shutdown)
        #expect(try guest.suspend(deadline: inMilliseconds(1000)) == .ended(.shutdown))
        try guest.output.releaseAll()
        #expect(client.reply() == ":1", "the planned end lets go what was held")
        guest.detach()
        let handle = try? ProcessHandle(pid: process.pid)
        #expect(handle?.waitForEnd(milliseconds: 1500) ?? true)
    }

    @Test func strangersOnTheControlSocketDoNoHarm() throws {
        let process = try GuestProcess()
        let path = EmbeddedPaths.controlSocket(of: process.name, in: process.directory.path)
        var random = Seeded(3)
        for _ in 0..<100 {
            let socket = try UnixSocket.connect(to: path)
            var bytes = (0..<Int.random(in: 1...200, using: &random)).map { _ in
                UInt8.random(in: .min ... .max, using: &random)
            }
            if Bool.random(using: &random) {
                bytes.replaceSubrange(
                    0..<min(6, bytes.count),
                    with: [0x52, 0x47, 0x43, 0x31, UInt8.random(in: 0...14, using: &random), 0]
                )
            }
            try? UnixSocket.send(bytes, over: socket)
        }
        let guest = try process.control()
        #expect(try guest.suspend(deadline: inMilliseconds(1000)) == .suspended)
        try guest.resume()
        #expect(try Client(process.address).ask("PING") == "+PONG")
    }

    @Test func oneGuestOfAName() throws {
        let process = try GuestProcess()
        #expect(throws: TestFailure.self) { _ = try GuestProcess(process.name, directory: process.directory) }
        #expect(try Client(process.address).ask("PING") == "+PONG")
        // The dead one's lock and socket stand in nobody's way.
        kill(process.pid, SIGKILL)
        usleep(100_000)
        let next = try GuestProcess(process.name, directory: process.directory)
        #expect(try next.control().description.name == process.name)
    }

    @Test func eightGibibytesCostWhatIsUsed() throws {
        let start = Clock.monotonic
        let process = try GuestProcess(memory: "8GiB")
        let guest = try process.control(.pagemap)
        let replica = try Replica(guest)
        try replica.start()
        try replica.checkpoint(cut: false)
        #expect(Clock.monotonic - start < 5_000_000_000)
        let client = try Client(process.address)
        #expect(try client.ask("SET", "k", "v") == "+OK")
        #expect(try replica.checkpoint(cut: false) < 10)
        let file = try #require(SmallFile.read("/proc/\(process.pid)/smaps_rollup"))
        let rss = file.split(separator: "\n").first { $0.hasPrefix("Rss:") }?.split(separator: " ")
            .dropFirst().first
        #expect(Int(rss ?? "") ?? .max < 200_000, "KiB resident")
    }
}
