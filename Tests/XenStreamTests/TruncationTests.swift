import Testing
import XenStream

/// A stream cut anywhere is refused as truncated, unless it ends right after a checkpoint.
@Suite struct TruncationTests {
    @Test(arguments: SampleStream.Guest.allCases, [0, 2])
    func everyCutIsSeen(_ guest: SampleStream.Guest, _ checkpoints: Int) throws {
        for outermost in [StreamLayer.xl, .libxl, .libxc] {
            let sample = SampleStream(guest, pages: 16, checkpoints: checkpoints, outermost: outermost)
            let pieces = sample.pieces()
            let bytes = Array(pieces.joined())
            // Bytes after which a checkpoint is whole, and how many are.
            var wholeAt: [Int: UInt64] = [:]
            var edges: Set<Int> = []
            var position = 0
            let mark =
                outermost == .libxc
                ? record(LibxcRecordType.checkpoint) : record(LibxlRecordType.checkpointEnd)
            for piece in pieces {
                for edge in 0..<min(40, piece.count) { edges.insert(position + edge) }
                position += piece.count
                if checkpoints > 0, piece == mark { wholeAt[position] = UInt64(wholeAt.count + 1) }
            }
            var cuts = 0
            var reader = StreamReader()
            var recorder = Counter()
            // One reader is fed byte by byte; at every point it must know how its input would stand if it ended there.
            try bytes.withUnsafeBytes { buffer in
                for cut in 0..<buffer.count {
                    if let epochs = wholeAt[cut] {
                        #expect(reader.completeness == .afterCheckpoint(epochs: epochs))
                        try reader.finish()
                    } else {
                        // What finish() says costs text; inside page contents it is asked for at some cuts only.
                        let wanted: StreamError.Kind = cut == 0 ? .empty : .truncated
                        let isRight = reader.completeness == (cut == 0 ? .empty : .truncated)
                        if !isRight
                            || (cut % 61 == 0 || edges.contains(cut))
                                && TruncationTests.kind(reader) != wanted
                        {
                            Issue.record("cut at \(cut) is not seen: \(reader.completeness)")
                        }
                        cuts += 1
                    }
                    try reader.feed(UnsafeRawBufferPointer(rebasing: buffer[cut..<cut + 1]), to: &recorder)
                }
            }
            try reader.finish()
            #expect(cuts + wholeAt.count >= bytes.count)
        }
    }

    private struct Counter: StreamHandler {}

    private static func kind(_ reader: borrowing StreamReader) -> StreamError.Kind? {
        do throws(StreamError) {
            try reader.finish()
            return nil
        } catch {
            return error.kind
        }
    }

    @Test func aCutSaysWhere() throws {
        let bytes = SampleStream(.hvm, checkpoints: 2).bytes()
        let error = try #require(Reading(Array(bytes.dropLast(3))).error)
        #expect(error.kind == .truncated)
        #expect(error.offset == UInt64(bytes.count - 3))
        #expect(error.layer == .libxl)
        #expect(error.epoch == 1)
    }
}
