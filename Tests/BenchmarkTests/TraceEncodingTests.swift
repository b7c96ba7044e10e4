import Glibc
import SystemSupport
import Testing

@testable import Benchmark

struct TraceEncodingTests {
    private func number(_ value: Int, bytes: Int = 8) -> [UInt8] {
        (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    private func random() -> [UInt8] { (0..<4096).map { _ in .random(in: 0...255) } }

    /// A trace of a guest of 4096 pages, with epochs of (pfn, before, after).
    private func trace(_ epochs: [[(Int, [UInt8], [UInt8])]]) throws -> TraceReader {
        var bytes = Array("RMSTRACE".utf8) + number(1, bytes: 4) + number(4096, bytes: 4)
        bytes += number(4096) + number(epochs.count)
        for epoch in epochs {
            bytes += number(epoch.count) + number(epoch.count)
            for (pfn, before, after) in epoch { bytes += number(pfn) + number(0) + before + after }
        }
        let file = try Memfd.create(name: "trace", size: 0)
        try #require(write(file.raw, bytes, bytes.count) == bytes.count)
        return try TraceReader("/proc/self/fd/\(file.raw)")
    }

    /// Bytes a page of the frames of each epoch.
    private func bytesPerPage(_ epochs: [[(Int, [UInt8], [UInt8])]]) throws -> [Double] {
        let trace = try trace(epochs)
        let encoding = try TraceEncoding(trace)
        return try trace.epochs.map { Double(try encoding.bytes(of: $0)) / Double($0.pages) }
    }

    @Test func aByteThatChangedTakesAFewBytes() throws {
        let epoch = (0..<1500).map { pfn in
            let before = random()
            var after = before
            after[0] &+= 1
            return (pfn, before, after)
        }
        let found = try bytesPerPage([epoch])
        #expect(found[0] < 10)
    }

    @Test func whatIsAnewTakesLittleMoreThanItselfAndZerosNextToNothing() throws {
        let anew = (0..<300).map { ($0 * 13, random(), random()) }
        let zeroed = (0..<300).map { ($0 * 13, random(), [UInt8](repeating: 0, count: 4096)) }
        let found = try bytesPerPage([anew, zeroed])
        #expect(found[0] > 4096 && found[0] < 4104 * 1.003)
        #expect(found[1] < 4)
    }

    /// What an epoch begins with is what the trace says, whatever the one before ended with.
    @Test func eachEpochIsComparedWithWhatItsPagesHeldBefore() throws {
        let (one, two) = (random(), random())
        var other = one
        other[4095] ^= 1
        let found = try bytesPerPage([[(7, one, two)], [(7, one, other)]])
        #expect(found[0] > 4096)
        #expect(found[1] < 100)
    }
}
