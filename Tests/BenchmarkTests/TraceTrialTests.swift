import Testing

@testable import Benchmark
@testable import Checkpoint

@Suite(.timeLimit(.minutes(2))) struct TraceTrialTests {
    /// More pages than one record takes: of a kind for each form in which the encoder sends one, each unlike all others.
    private static let epoch = (0..<1100).map { number -> MadeTrace.Change in
        let before = [UInt8](repeating: UInt8(number % 251 + 1), count: 4096)
        var after = before
        let name = [UInt8(number & 0xFF), UInt8(number >> 8), 0xA5, 0x5A]
        switch number {
        // A few words.
        case ..<1000: after.replaceSubrange(8..<12, with: name)
        // All of it, and LZ4 makes little of it.
        case ..<1040: after = (0..<1024).flatMap { _ in name }
        // All of it, and nothing makes it smaller.
        case ..<1060: after = MadeTrace.random()
        case ..<1080: after = [UInt8](repeating: 0, count: 4096)
        // Of what is random, a byte in each word of the first half: a long difference, and LZ4 finds nothing.
        default:
            after = MadeTrace.random()
            var old = after
            for word in 0..<256 { old[word * 8 + 3] ^= 0xFF }
            return (number * 3, old, after)
        }
        return (number * 3, before, after)
    }

    @Test func whatBothMakeOfATraceIsItsPagesAgain() throws {
        let again = Self.epoch.reversed().map { page -> MadeTrace.Change in
            (4095 - page.pfn, page.after, page.before)
        }
        let trace = try MadeTrace.reader([Self.epoch, again])
        let encoding = try TraceEncoding(trace)
        for epoch in trace.epochs {
            // Twice, as a trial's passes find it.
            for _ in 0..<2 {
                var frames: [[UInt8]] = []
                encoding.begin(epoch)
                let ours = try encoding.encode(epoch) { frames.append(Array($0)) }
                #expect(ours.bytes == frames.reduce(0) { $0 + FrameHeader.size + $1.count })
                let isSame = try contents(frames, trace, epoch) == pages(trace, epoch)
                #expect(isSame)
            }
            var blocks: [[UInt8]] = []
            let lz4 = encoding.pack(epoch) { blocks.append(Array($0)) }
            #expect(lz4.bytes == blocks.reduce(0) { $0 + ($1.isEmpty ? 4096 : $1.count) })
            #expect(blocks.count == epoch.pages)
            for (block, page) in zip(blocks, pages(trace, epoch)) where !block.isEmpty {
                let isSame = SwiftKernels.unpackLZ4(block) == page
                #expect(isSame)
            }
        }
    }

    @Test func eachPassIsASample() throws {
        let few = Array(Self.epoch.prefix(3))
        let trial = try TraceTrial(MadeTrace.reader([few, [], Array(Self.epoch.suffix(40)), few]))
        let samples = try trial.play(passes: 4, on: nil)
        #expect(samples.count == 4)
        #expect(samples.allSatisfy { $0.ours > 0 && $0.lz4 > 0 })
    }

    @Test func aTraceWithoutPagesMeasuresNothing() throws {
        let trace = try MadeTrace.reader([[], []])
        #expect(throws: BenchError.self) { try TraceTrial(trace) }
    }

    @Test func ofATraceEncodingHasHalfOfLZ4sTime() throws {
        func verdict(_ nanoseconds: UInt64) throws -> Verdict {
            let ours = BothEncoders.Cost(bytes: 800, time: nanoseconds)
            let lz4 = BothEncoders.Cost(bytes: 8000, time: 20_000)
            let sample = BothEncoders.Sample(ours: ours, lz4: lz4, pages: 10)
            let row = try #require(DeltaMeasure.row("idle", [sample]))
            #expect(row.ours.p50 == Double(nanoseconds) / 10_000)
            #expect(row.beside?.figure.p50 == 2)
            return row.verdict
        }
        #expect(try verdict(10_000) == .met)
        #expect(try verdict(10_100) == .notMet)
        #expect(DeltaMeasure.row("idle", []) == nil)
    }

    @Test(arguments: [nil, "/proc/self/nothing"]) func withoutTracesTheReasonIsSaid(_ tools: String?) {
        #expect(throws: BenchError.self) { try PageModel.recorded(in: tools) }
    }

    /// What an epoch's pages hold at its end.
    private func pages(_ trace: TraceReader, _ epoch: TraceReader.Epoch) -> [[UInt8]] {
        (0..<epoch.pages).map { Array(trace.page($0, of: epoch).after) }
    }

    /// What a standby that has the pages as they were makes of an epoch's frames: the pages of its records.
    private func contents(_ frames: [[UInt8]], _ trace: TraceReader, _ epoch: TraceReader.Epoch) throws
        -> [[UInt8]]
    {
        let changed = (0..<epoch.pages).map { trace.page($0, of: epoch) }
        let image = Dictionary(uniqueKeysWithValues: changed.map { ($0.pfn, $0.before) })
        var decoder = PageDecoder()
        var plain: [UInt8] = []
        for frame in frames {
            try frame.withUnsafeBytes { body in
                var piece = [UInt8](repeating: 0, count: Int(body.loadLE(at: 0) as UInt32))
                let items = UnsafeRawBufferPointer(rebasing: body[4...])
                try piece.withUnsafeMutableBytes { target in
                    try decoder.decode(items, into: target) { image[$0] }
                }
                plain += piece
            }
        }
        var found: [[UInt8]] = []
        for start in stride(from: 0, to: epoch.pages, by: 1024) {
            let count = min(1024, epoch.pages - start)
            let data = plain.dropFirst(start * (4096 + 8) + (start / 1024 + 1) * 16 + 8 * count)
            for index in 0..<count { found.append(Array(data.dropFirst(index * 4096).prefix(4096))) }
        }
        #expect(plain.count == epoch.pages * (4096 + 8) + (epoch.pages + 1023) / 1024 * 16)
        return found
    }
}
