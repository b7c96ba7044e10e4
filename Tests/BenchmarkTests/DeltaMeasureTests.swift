import Daemon
import Testing

@testable import Benchmark

@Suite(.timeLimit(.minutes(2))) struct DeltaMeasureTests {
    @Test(arguments: [LinkKind.unix, .tcp])
    func everyEpochIsSeenToGoAsWhatChanged(_ link: LinkKind) throws {
        let watch = SendWatch()
        let guest = try BenchGuest(pages: 4096, filled: 1024)
        let pair = try SidePair(guest, over: link, encoding: .delta, watch: watch)
        defer { pair.end() }
        let (host, side) = (pair.host, pair.side)
        // More than the engine encodes before it looks around.
        for pages in [1, 300, 2000] {
            let samples = try side.play(EpochOrder(pages: pages, epochs: 5, seed: UInt64(pages), rest: 0))
            #expect(watch.sends.count == 5)
            for (send, sample) in zip(watch.sends, samples) {
                #expect(send.time > 0 && send.time <= sample.commit - sample.pause)
                #expect(send.processor > 0)
                // Of a page eight words and where they are; of an epoch its state, which is no page.
                let state = UInt64(ReadyState.size)
                #expect(send.bytes > state && send.bytes < state + 1024 + 128 * UInt64(pages))
            }
            #expect(try host.digest() == side.digest)
        }
    }

    @Test func bothEncodeEveryPageOfEveryEpoch() throws {
        let trial = try EncodingTrial(pages: 2048)
        for pages in [1, 700, 1024] {
            let order = EpochOrder(pages: pages, epochs: 4, seed: UInt64(pages), rest: 0)
            let samples = try trial.play(order, on: nil)
            #expect(samples.count == 4)
            #expect(samples.allSatisfy { $0.ours > 0 && $0.lz4 > 0 })
        }
    }

    @Test func theRateIsThatOfEncodingAndSending() throws {
        let sends = [EpochSend(time: 1000, processor: 800, bytes: 80_000)]
        let samples = [EpochSample(suspended: 0, cut: 1, resumed: 2, acknowledged: 2_000_000)]
        let rows = try DeltaMeasure.rows("a case", pages: 1000, sends, samples)
        #expect(rows.map(\.ours.p10) == [1_000_000, 500_000, 0.8, 80])
        #expect(rows.map(\.verdict) == [.met, .reported, .reported, .reported])
        let slow = [EpochSend(time: 2001, processor: 800, bytes: 80_000)]
        #expect(try DeltaMeasure.rows("a case", pages: 1000, slow, samples).first?.verdict == .notMet)
    }

    @Test func whatWasSentWholeMeasuresNothing() {
        let sends = [EpochSend(time: 1000, processor: 800, bytes: 4_104_000)]
        #expect(throws: BenchError.self) { try DeltaMeasure.rows("a case", pages: 1000, sends, []) }
    }
}
