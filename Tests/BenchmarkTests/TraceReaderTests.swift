import Glibc
import SystemSupport
import Testing

@testable import Benchmark

struct TraceReaderTests {
    private func number(_ value: UInt64, bytes: Int = 8) -> [UInt8] {
        (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }

    private func page(_ byte: UInt8) -> [UInt8] { Array(repeating: byte, count: 4096) }

    /// As bench/tracefile.py writes it: two epochs, of two pages and none.
    private var sample: [UInt8] {
        let kind = Array("RMSTRACE".utf8) + number(1, bytes: 4) + number(4096, bytes: 4)
        let header = kind + number(100) + number(2)
        let first = number(5) + number(2)
        let pages = number(7) + number(0) + page(1) + page(2) + number(99) + number(0) + page(3) + page(0)
        return header + first + pages + number(0) + number(0)
    }

    /// Reads a trace of these bytes.
    private func reader(_ bytes: [UInt8]) throws -> TraceReader {
        let file = try Memfd.create(name: "trace", size: 0)
        try #require(write(file.raw, bytes, bytes.count) == bytes.count)
        return try TraceReader("/proc/self/fd/\(file.raw)")
    }

    @Test func pagesAreReadWithWhatTheyHeldBeforeAndAfter() throws {
        let trace = try reader(sample)
        #expect(trace.guestPages == 100)
        #expect(trace.epochs.map(\.changed) == [5, 0])
        #expect(trace.epochs.map(\.pages) == [2, 0])
        let pages = (0..<2).map { trace.page($0, of: trace.epochs[0]) }
        #expect(pages.map(\.pfn) == [7, 99])
        #expect(pages.map { Array($0.before) } == [page(1), page(3)])
        #expect(pages.map { Array($0.after) } == [page(2), page(0)])
    }

    @Test func whatIsNoWholeTraceIsRefused() throws {
        var version = sample
        version[8] = 2
        var magic = sample
        magic[0] = 0
        var pfn = sample
        pfn[48] = 100
        var count = sample
        count[40] = 3
        for bytes in [[], Array(sample.dropLast()), sample + [0], version, magic, pfn, count] {
            #expect(throws: BenchError.self) { try reader(bytes) }
        }
    }
}
