import Checkpoint
import EmbeddedHost
import Glibc
import SystemSupport
import Testing
import XenStream

/// Not a test of a promise: prints where a pause goes. Runs only with REMUSD_MEASURE set.
@Suite(.enabled(if: getenv("REMUSD_MEASURE") != nil), .serialized)
struct PauseMeasurement {
    @Test(arguments: [DirtyTracking.pagemap, .compare])
    func partsOfAPause(_ tracking: DirtyTracking) throws {
        let process = try GuestProcess(memory: "256MiB")
        let guest = try process.control(tracking)
        let address = process.address
        let stopping = Monitor(false)
        let setup = try Client(address)
        for key in 0..<20000 { try setup.send(Client.request(["SET", "k\(key)", "first value"])) }
        for _ in 0..<20000 { _ = setup.reply() }
        let writer = try WorkerThread("writer") {
            guard let client = try? Client(address) else { return }
            var round = 0
            while !stopping.withLock({ $0 }) {
                round += 1
                var batch: [UInt8] = []
                for key in 0..<200 { batch += Client.request(["SET", "k\(key * 97)", "v \(round)"]) }
                guard (try? client.send(batch)) != nil else { return }
                for _ in 0..<200 { if client.reply() == nil { return } }
                usleep(1000)
            }
        }
        let replica = try Replica(guest)
        try replica.start()
        var parts: [String: [UInt64]] = [:]
        var bitmap = PageBitmap(pageCount: guest.description.pageCount)
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: guest.stateCapacity, alignment: 8)
        let pfns = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1024)
        let types = UnsafeMutableBufferPointer<PageType>.allocate(capacity: 1024)
        let contents = UnsafeMutableRawPointer.allocate(byteCount: 1024 * guestPageSize, alignment: 4096)
        var pages: [UInt64] = []
        for epoch in 1...200 as ClosedRange<UInt64> {
            usleep(10_000)
            bitmap.removeAll()
            var last = Clock.monotonic
            let start = last
            func mark(_ part: String) {
                let now = Clock.monotonic
                parts[part, default: []].append((now - last) / 100)
                last = Clock.monotonic
            }
            let deadline = Instant(nanoseconds: Clock.boot + 1_000_000_000)
            #expect(try guest.suspend(deadline: deadline) == .suspended)
            mark("1 suspend")
            try guest.collectDirty(into: &bitmap)
            mark("2 collect")
            var next = 0
            var dirty = 0
            while next < bitmap.pageCount {
                let (count, resume) = bitmap.next(from: next, into: pfns)
                next = resume
                dirty += count
                let batch = UnsafeBufferPointer(rebasing: pfns[..<count])
                _ = try guest.copyPages(batch, types: types, into: contents)
            }
            mark("3 copy")
            var stream = StreamWriter(room)
            try guest.writeState(into: &stream)
            mark("4 state")
            try guest.output.cut(epoch: epoch)
            mark("5 cut")
            try guest.resume()
            mark("6 resume")
            last = start
            mark("7 whole")
            pages.append(UInt64(dirty) * 10)
            try guest.output.release(epoch: epoch)
        }
        stopping.withLock { $0 = true }
        writer.join()
        parts["8 dirty pages"] = pages
        for (part, times) in parts.sorted(by: { $0.key < $1.key }) {
            let sorted = times.sorted()
            let shown = [sorted[100], sorted[197]].map { Double($0) / 10 }
            print("\(tracking.rawValue) \(part): p50 \(shown[0]) p99 \(shown[1])")
        }
    }
}
