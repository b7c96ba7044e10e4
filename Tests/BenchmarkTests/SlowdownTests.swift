import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Benchmark

@Suite(.timeLimit(.minutes(2))) struct SlowdownTests {
    /// Waits for something that comes in its own time.
    private func waits(for condition: () -> Bool) -> Bool {
        for _ in 0..<20_000 {
            if condition() { return true }
            usleep(1000)
        }
        return false
    }

    /// A loop over some pages, on a thread that ends with it.
    private func withLoop(_ pages: [Int], _ body: (GuestLoop, Mapping) throws -> Void) throws {
        let memory = try Mapping.anonymous(count: 8 * guestPageSize)
        let loop = try GuestLoop(in: memory, writing: pages, seed: 1)
        let thread = try WorkerThread("loop") { loop.run(on: nil) }
        defer {
            loop.end()
            thread.join()
        }
        try body(loop, memory)
    }

    @Test func itWritesItsPagesAndNoOthers() throws {
        try withLoop([6, 1]) { loop, memory in
            #expect(waits { loop.operations >= 4 })
            try loop.rest()
            let words = memory.base.assumingMemoryBound(to: UInt64.self)
            for pfn in 0..<8 {
                let page = UnsafeBufferPointer(
                    start: words + pfn * PageWriter.wordsPerPage,
                    count: PageWriter.wordsPerPage
                )
                #expect(page.contains { $0 != 0 } == (pfn == 6 || pfn == 1))
            }
        }
    }

    @Test func whileItStandsItDoesNothing() throws {
        try withLoop([0]) { loop, _ in
            #expect(!loop.isStanding)
            for _ in 0..<100 {
                loop.stand()
                _ = Poll.wait(loop.stands.descriptor.raw, milliseconds: 10_000)
                try #require(loop.isStanding)
                let before = loop.operations
                sched_yield()
                #expect(loop.operations == before)
                loop.stands.drain()
                loop.goOn()
                #expect(!loop.isStanding)
                // At once again, it is told all the same.
                loop.stand()
                try #require(Poll.wait(loop.stands.descriptor.raw, milliseconds: 10_000))
                loop.stands.drain()
                loop.goOn()
            }
            let before = loop.operations
            #expect(waits { loop.operations > before })
        }
    }

    @Test func atRestItStandsWhenAskedAndDoesNothingAfterwards() throws {
        try withLoop([0]) { loop, _ in
            try loop.rest()
            let before = loop.operations
            loop.stand()
            #expect(loop.isStanding)
            try #require(Poll.wait(loop.stands.descriptor.raw, milliseconds: 10_000))
            loop.goOn()
            usleep(1000)
            #expect(loop.operations == before && !loop.isStanding)
        }
    }

    @Test func theStandbyHasWhatTheLoopWrote() throws {
        let guest = try LoopGuest(pages: 2048, filled: 512, writing: 100, on: nil)
        defer { guest.end() }
        let pair = try SidePair(guest, interval: .milliseconds(20))
        defer { pair.end() }
        let (host, side) = (pair.host, pair.side)
        let from = guest.count
        #expect(waits { guest.count.commits >= from.commits + 5 })
        let to = guest.count
        #expect(to.operations > from.operations)
        // Never more than it writes; less only where it had no time to.
        let pages = to.pages - from.pages
        #expect(pages > 0 && pages <= 100 * (to.commits - from.commits))
        try guest.rest()
        #expect(side.digest.pages == 514)
        #expect(try host.digest() == side.digest)
    }

    private func count(_ seconds: UInt64, _ operations: UInt64, _ commits: Int, _ pages: Int)
        -> LoopGuest.Count
    {
        LoopGuest.Count(
            moment: seconds * 1_000_000_000,
            operations: operations,
            commits: commits,
            pages: pages
        )
    }

    private func sample(commits: Int = 80, pages: Int = 80 * 1024) -> SlowdownSample {
        SlowdownSample(
            free: (count(1, 0, 0, 0), count(2, 1000, 0, 0)),
            protected: (count(5, 2000, 10, 500), count(7, 3900, 10 + commits, 500 + pages))
        )
    }

    @Test func whatIsLeftStandsBesideWhatThereWas() throws {
        let row = try SlowdownMeasure.row(40, .alone, [sample()])
        #expect(row.ours.p10 == 950 && row.beside?.figure.p10 == 1000)
        #expect(row.ratio == 0.95 && row.verdict == .reported)
    }

    @Test func anotherRateOrOtherEpochsAreNoRow() {
        #expect(throws: BenchError.self) { try SlowdownMeasure.row(40, .alone, []) }
        #expect(throws: BenchError.self) {
            try SlowdownMeasure.row(40, .alone, [sample(), sample(commits: 60, pages: 60 * 1024)])
        }
        #expect(throws: BenchError.self) { try SlowdownMeasure.row(40, .shared, [sample(pages: 81_000)]) }
    }
}
