import Testing
import XenStream

/// Generated streams of every kind are read as what was written, however they are cut into portions.
@Suite struct RoundTripTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let sample: SampleStream
        var testDescription: String {
            "\(sample.guest) \(sample.outermost) checkpoints \(sample.checkpoints) seed \(sample.seed)"
        }
    }

    static let cases: [Case] = SampleStream.Guest.allCases.flatMap { guest in
        [StreamLayer.xl, .libxl, .libxc].flatMap { layer in
            [0, 1, 4].map { checkpoints in
                let seed = UInt64(checkpoints) + 17
                return Case(
                    sample: .init(guest, checkpoints: checkpoints, seed: seed, outermost: layer)
                )
            }
        }
    }

    @Test(arguments: cases)
    func readsWhatWasWritten(_ test: Case) {
        let sample = test.sample
        let bytes = sample.bytes()
        let whole = Reading(bytes)
        #expect(whole.error == nil)
        let epochs = (0..<UInt64(sample.checkpoints)).map { $0 }
        #expect(whole.recorder.committed == epochs)
        #expect(whole.recorder.checkpoints == epochs)
        #expect(whole.recorder.ended == (sample.checkpoints == 0))
        #expect(
            whole.completeness
                == (sample.checkpoints == 0 ? .whole : .afterCheckpoint(epochs: UInt64(sample.checkpoints)))
        )
        #expect(whole.recorder.pages.filter { $0.epoch == 0 }.map(\.entry.pfn) == (0..<24).map { UInt64($0) })
        for page in whole.recorder.pages {
            #expect(page.entry.type == sample.type(page.entry.pfn))
            let fill = [UInt8](repeating: sample.fill(page.entry.pfn, epoch: page.epoch), count: 4096)
            let sum =
                page.entry.type.carriesData
                ? fill.reduce(into: UInt64(0)) { $0 = $0 &* 31 &+ UInt64($1) } : nil
            #expect(page.sum == sum)
            if sum != nil {
                #expect(Array(bytes[Int(page.offset)..<Int(page.offset) + 4096]) == fill)
            }
        }
        let outline = whole.recorder.outline
        var random = SplitMix(state: sample.seed)
        let portions: [() -> Int] = [
            { 7 }, { 4096 }, { Int.random(in: 1...64, using: &random) },
            { Int.random(in: 1...9000, using: &random) },
        ]
        for portion in portions {
            let pieces = Reading(bytes, next: portion)
            #expect(pieces.error == nil)
            #expect(pieces.recorder.outline == outline)
        }
        #expect(Reading(bytes, .lenient).recorder.outline == outline)
    }

    @Test(arguments: SampleStream.Guest.allCases)
    func readsByteByByte(_ guest: SampleStream.Guest) {
        let bytes = SampleStream(guest, pages: 16, checkpoints: 2).bytes()
        let single = Reading(bytes, next: { 1 })
        #expect(single.error == nil)
        #expect(single.recorder.outline == Reading(bytes).recorder.outline)
    }

    @Test(arguments: SampleStream.Guest.allCases)
    func resumesAfterTheStaticPart(_ guest: SampleStream.Guest) throws {
        let pieces = SampleStream(guest, checkpoints: 3, seed: 5).pieces()
        let firstMemory = try #require(pieces.firstIndex { $0.count > 4096 && $0[0] == 1 && $0[1] == 0 })
        let end = record(LibxlRecordType.checkpointEnd)
        let ends = pieces.indices.filter { pieces[$0] == end }
        var reader = StreamReader()
        var recorder = Recorder()
        try feed(&reader, Array(pieces[..<firstMemory].joined()), &recorder)
        try reader.continueAfterCheckpoint(epochs: 2)
        #expect(reader.epoch == 2)
        #expect(reader.completeness == .afterCheckpoint(epochs: 2))
        try feed(&reader, Array(pieces[(ends[1] + 1)...].joined()), &recorder)
        try reader.finish()
        #expect(recorder.committed == [2])
        #expect(reader.epoch == 3)
        #expect(throws: StreamError.self) { try reader.continueAfterCheckpoint(epochs: 9) }
    }

    private func feed(
        _ reader: inout StreamReader,
        _ bytes: [UInt8],
        _ recorder: inout Recorder
    ) throws {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: bytes)
        try reader.feed(UnsafeRawBufferPointer(copy), to: &recorder)
    }
}
