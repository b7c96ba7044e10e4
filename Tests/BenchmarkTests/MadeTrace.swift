import Glibc
import SystemSupport
import Testing

@testable import Benchmark

/// Traces as bench/tracefile.py writes them, of a guest of 4096 pages, with what a test has its pages hold.
enum MadeTrace {
    /// A page that changed.
    typealias Change = (pfn: Int, before: [UInt8], after: [UInt8])

    static func reader(_ epochs: [[Change]]) throws -> TraceReader {
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

    /// A page of which nothing is like anything.
    static func random() -> [UInt8] { (0..<4096).map { _ in .random(in: 0...255) } }

    private static func number(_ value: Int, bytes: Int = 8) -> [UInt8] {
        (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
