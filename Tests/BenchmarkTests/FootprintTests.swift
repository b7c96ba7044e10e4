import Daemon
import Glibc
import SystemSupport
import Testing

@testable import Benchmark

struct FootprintTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// The page that a process would count in, made by hand.
    private func page(of pid: Int32) throws -> Mapping {
        let raw = open("\(directory.path)/\(pid)", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        try #require(raw >= 0 && ftruncate(raw, 4096) == 0)
        return try Mapping.shared(Descriptor(owning: raw), count: 4096)
    }

    private func set(_ page: Mapping, _ allocations: UInt64, _ bytes: UInt64) {
        page.base.storeBytes(of: allocations, as: UInt64.self)
        page.base.storeBytes(of: bytes, toByteOffset: 8, as: UInt64.self)
    }

    private func told(_ page: Mapping) -> UInt64 { page.base.load(fromByteOffset: 16, as: UInt64.self) }

    @Test func whatCountsIsBetweenTwoAcknowledgements() throws {
        let (one, two) = (try page(of: 11), try page(of: 12))
        let watch = AllocationWatch(warmUp: 2, epochs: 3, told: 4)
        watch.primary = try AllocationCounter(of: 11, in: directory.path)
        watch.standby = try AllocationCounter(of: 12, in: directory.path)
        for epoch in 1...6 {
            set(one, UInt64(epoch * 100), UInt64(epoch * 1000))
            set(two, UInt64(epoch > 4 ? 8 : 7), 70)
            watch.acknowledged(epoch)
            // Only what counts is told.
            #expect(told(one) == (2...4 ~= epoch ? 4 : 0) && told(two) == told(one))
        }
        #expect(watch.counted.primary == .init(allocations: 300, bytes: 3000))
        #expect(watch.counted.standby == .init(allocations: 1, bytes: 0))
    }

    @Test func aProcessThatDoesNotCountIsNoProcessWithoutAllocations() throws {
        #expect(throws: BenchError.self) { try AllocationCounter(of: 13, in: directory.path) }
    }

    private func footprint(allocations: UInt64 = 0, primary: Int = 0, standby: Int = 0) -> Footprint {
        Footprint(
            primary: .init(allocations: allocations, allocatedBytes: 0, resident: primary << 20),
            standby: .init(allocations: 0, allocatedBytes: 0, resident: standby << 20)
        )
    }

    @Test func oneAllocationIsTooMany() {
        let rows = FootprintMeasure.allocations("some epochs", footprint(allocations: 1), hasBar: true)
        #expect(rows.map(\.ours.p10) == [1, 0])
        #expect(rows.map(\.verdict) == [.notMet, .met])
        let others = FootprintMeasure.allocations("some epochs", footprint(allocations: 1), hasBar: false)
        #expect(others.map(\.verdict) == [.reported, .reported])
    }

    @Test func whatGrowsWithTheGuestIsToldFromWhatDoesNot() throws {
        let rows = FootprintMeasure.resident(
            large: footprint(primary: 1024 + 50, standby: 1100 + 20),
            small: footprint(primary: 256 + 50, standby: 275 + 20)
        )
        #expect(rows.map(\.ours.p10) == [1024, 50, 1100, 20])
        #expect(rows.map(\.verdict) == [.met, .reported, .notMet, .reported])
        let limit = try #require(rows[0].beside?.figure.p10)
        // A shadow, and an epoch of 1024 pages.
        #expect(limit > 1028 && limit < 1028.1)
    }

    @Test func residentMemoryIsWhatTheKernelCounts() throws {
        let text = """
            561508198000-7ffc89535000 ---p 00000000 00:00 0                          [rollup]
            Rss:                1800 kB
            Pss:                 313 kB

            """
        #expect(ResidentMemory.bytes(in: text) == 1800 * 1024)
        #expect(ResidentMemory.bytes(in: "Pss: 1 kB") == nil)
        // Whatever else comes and goes in this process, this much is there.
        let memory = try Mapping.anonymous(count: 64 << 20)
        memory.bytes.initializeMemory(as: UInt8.self, repeating: 1)
        #expect(try ResidentMemory.own() >= 64 << 20)
        withExtendedLifetime(memory) {}
    }

    @Test func anOrderIsToldInALine() throws {
        let order = FootprintOrder(
            encoding: "delta",
            guestPages: 4096,
            pages: 7,
            warmUp: 1,
            epochs: 2,
            told: 3
        )
        let line = try ControlJSON.encode(order)
        #expect(!line.contains(10))
        #expect(try ControlJSON.decode(FootprintOrder.self, from: line) == order)
    }
}
