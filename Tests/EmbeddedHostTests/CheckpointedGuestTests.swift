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
                        batch += Client.request(["INCR", "a\(writer)"]) + Client.request(["INCR", "b\(writer)"])
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
            address: "127.0.0.1:0"
        )
        #expect(second.missingResources(for: request) == [])
        let started = try second.start(request)
        defer { kill(started.pid, SIGKILL) }
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
