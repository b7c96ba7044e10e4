import Daemon
import Testing

@testable import Benchmark

/// B9's memory, and what is made of what was measured.
@Suite(.timeLimit(.minutes(2))) struct SyncTests {
    @Test func zeroPagesAreSpreadEvenlyAndAlwaysTheSame() {
        let zeros = ZeroPages(percent: 60)
        for start in stride(from: 0, to: 1 << 18, by: 1 << 14) {
            let count = (start..<start + 1000).count { zeros.contains($0) }
            #expect(abs(count - 600) <= 10)
        }
        // What bench/qemu-migration.py makes of 0 to 15.
        let first = (0..<16).map { zeros.contains($0) ? 1 : 0 }
        #expect(first == [1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1])
        #expect(!(0..<1000).contains { ZeroPages(percent: 0).contains($0) })
        #expect((0..<1000).allSatisfy { ZeroPages(percent: 100).contains($0) })
    }

    @Test(arguments: [EncodingChoice.plain, .delta])
    func theStandbyHasTheZerosToo(_ encoding: EncodingChoice) throws {
        let guest = try BenchGuest(pages: 2048, filled: 2048, zeros: ZeroPages(percent: 60))
        let pair = try SidePair(guest, encoding: encoding)
        defer { pair.end() }
        let (host, side) = (pair.host, pair.side)
        #expect(side.syncTime > 0)
        #expect(side.digest.pages == 2048)
        #expect(try host.digest() == side.digest)
    }

    @Test func whatIsEncodedHasABarAndUnixSocketsHaveQemuBeside() {
        let encoded = SyncMeasure.Case(link: .unix, encoding: .delta)
        let rows = SyncMeasure.rows(encoded, [2.5, 3], beside: [1, 2])
        #expect(rows.map(\.verdict) == [.met, .met])
        #expect(rows.map(\.ratio) == [nil, 1.5])
        #expect(SyncMeasure.rows(encoded, [1.9], beside: [2]).map(\.verdict) == [.notMet, .notMet])
        #expect(SyncMeasure.rows(encoded, [2], beside: []).map(\.verdict) == [.met, .notRun])
        let plain = SyncMeasure.Case(link: .unix, encoding: .plain)
        #expect(SyncMeasure.rows(plain, [1], beside: [2]).map(\.verdict) == [.reported, .reported])
        let tcp = SyncMeasure.Case(link: .tcp, encoding: .delta)
        #expect(SyncMeasure.rows(tcp, [1.5], beside: [1]).map(\.verdict) == [.notMet])
    }

    @Test func whatQemuPrintsIsUnderstood() throws {
        let line =
            #"{"memory_bytes": 1073741824, "zero_percent": 60, "rounds": [{"seconds": 0.5, "sent": 439000000}]}"#
        #expect(try QemuMigration.seconds(line, mib: 1024) == 0.5)
        #expect(throws: (any Error).self) { try QemuMigration.seconds(line, mib: 512) }
        #expect(throws: (any Error).self) { try QemuMigration.seconds("qemu-migration: failed", mib: 1024) }
    }
}
