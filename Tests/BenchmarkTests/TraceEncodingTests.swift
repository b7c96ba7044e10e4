import Testing

@testable import Benchmark

struct TraceEncodingTests {
    /// Bytes a page of the frames of each epoch.
    private func bytesPerPage(_ epochs: [[MadeTrace.Change]]) throws -> [Double] {
        let trace = try MadeTrace.reader(epochs)
        let encoding = try TraceEncoding(trace)
        return try trace.epochs.map { Double(try encoding.bytes(of: $0)) / Double($0.pages) }
    }

    @Test func aByteThatChangedTakesAFewBytes() throws {
        let epoch = (0..<1500).map { pfn -> MadeTrace.Change in
            let before = MadeTrace.random()
            var after = before
            after[0] &+= 1
            return (pfn, before, after)
        }
        let found = try bytesPerPage([epoch])
        #expect(found[0] < 10)
    }

    @Test func whatIsAnewTakesLittleMoreThanItselfAndZerosNextToNothing() throws {
        func epoch(_ after: () -> [UInt8]) -> [MadeTrace.Change] {
            (0..<300).map { ($0 * 13, MadeTrace.random(), after()) }
        }
        let anew = epoch(MadeTrace.random)
        let zeroed = epoch { [UInt8](repeating: 0, count: 4096) }
        let found = try bytesPerPage([anew, zeroed])
        #expect(found[0] > 4096 && found[0] < 4104 * 1.003)
        #expect(found[1] < 4)
    }

    /// What an epoch begins with is what the trace says, whatever the one before ended with.
    @Test func eachEpochIsComparedWithWhatItsPagesHeldBefore() throws {
        let (one, two) = (MadeTrace.random(), MadeTrace.random())
        var other = one
        other[4095] ^= 1
        let found = try bytesPerPage([[(7, one, two)], [(7, one, other)]])
        #expect(found[0] > 4096)
        #expect(found[1] < 100)
    }
}
