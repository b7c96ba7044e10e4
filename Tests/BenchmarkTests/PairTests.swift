import Testing

@testable import Benchmark

/// A benchmark that moves the wrong bytes measures nothing.
@Suite(.timeLimit(.minutes(2))) struct PairTests {
    @Test(arguments: [LinkKind.unix, .tcp], [nil, 200])
    func theStandbyHasWhatTheGuestWrote(_ link: LinkKind, _ sweeps: Int?) throws {
        let pair = try SidePair(BenchGuest(pages: 2048, filled: 512), over: link, sweepsFrom: sweeps)
        defer { pair.end() }
        let (host, side) = (pair.host, pair.side)
        let before = side.digest
        #expect(before.pages == 514)
        #expect(try host.digest() == before)
        for (seed, pages) in [1, 300, 1500].enumerated() {
            // Swept, it goes on writing meanwhile.
            let order = EpochOrder(pages: pages, epochs: 5, seed: UInt64(seed), rest: 0, spread: 1000)
            let samples = try side.play(order)
            #expect(samples.count == 5)
            for sample in samples {
                #expect(sample.suspended <= sample.cut && sample.cut <= sample.resumed)
                #expect(sample.resumed <= sample.acknowledged)
            }
            #expect(try host.digest() == side.digest)
        }
        #expect(side.digest != before)
    }

    @Test func theSameSeedWritesTheSamePages() {
        func pages(_ seed: UInt64) -> (dirty: [UInt64], memory: [UInt64]) {
            var dirty = [UInt64](repeating: 0, count: 4)
            var memory = [UInt64](repeating: 0, count: 256 * PageWriter.wordsPerPage)
            var writer = PageWriter(seed: seed)
            dirty.withUnsafeMutableBufferPointer { dirty in
                memory.withUnsafeMutableBufferPointer { memory in
                    guard let bits = dirty.baseAddress, let words = memory.baseAddress else { return }
                    writer.write(pages: 100, of: 256, in: words, dirty: bits)
                }
            }
            return (dirty, memory)
        }
        let (first, again, other) = (pages(7), pages(7), pages(8))
        #expect(first.dirty.reduce(0) { $0 + $1.nonzeroBitCount } == 100)
        #expect(first.dirty == again.dirty && first.memory == again.memory)
        #expect(first.dirty != other.dirty)
        for pfn in 0..<256 {
            let isDirty = first.dirty[pfn >> 6] >> UInt64(pfn & 63) & 1 == 1
            let words = first.memory[pfn * PageWriter.wordsPerPage..<(pfn + 1) * PageWriter.wordsPerPage]
            #expect(words.contains { $0 != 0 } == isDirty)
        }
    }

    @Test func packetsWaitForTheEpochTheyWereSentIn() {
        // The guest runs from 1.0 to 1.3 ms, and what it sends goes at 2.0 ms: packets at 1.0, 1.1 and 1.2.
        let samples = [
            EpochSample(suspended: 900_000, cut: 950_000, resumed: 1_000_000, acknowledged: 1_100_000),
            EpochSample(suspended: 1_300_000, cut: 1_350_000, resumed: 1_400_000, acknowledged: 2_000_000),
        ]
        let waits = OutputWaits(samples)
        #expect(waits.packets == [1000, 900, 800])
        #expect(waits.mean == 900)
        let rows = LatencyMeasure.rows("a case", samples, interval: 400)
        // 900 less half of 400 and a commit of 700.
        #expect(rows.last?.ours.p10 == 0 && rows.last?.verdict == .met)
    }

    @Test func aStandingGuestRunsTheRestOfTheTime() throws {
        let samples = [0, 100, 200].map { start in
            EpochSample(suspended: start, cut: start + 1, resumed: start + 2, acknowledged: start + 50)
        }
        let row = try #require(RateMeasure.share(samples))
        #expect(row.ours.p10 == 98 && row.verdict == .met)
    }
}
