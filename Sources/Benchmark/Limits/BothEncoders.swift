import CKernels
import Checkpoint
import SystemSupport
import XenStream

/// remusd's own encoder, and LZ4 by itself: what each makes of the same staged pages, and takes of this thread's processor for it.
final class BothEncoders {
    /// The other, for the table.
    static let other = "LZ4"

    /// What pages became, and what that took.
    struct Cost: Equatable, Sendable {
        /// Of our frames with all that belongs to them; of LZ4's blocks alone, where a page that gets no smaller counts as it is.
        var bytes = 0
        /// Nanoseconds of the processor.
        var time: UInt64 = 0

        static func += (sum: inout Cost, more: Cost) {
            sum.bytes += more.bytes
            sum.time += more.time
        }
    }

    /// Microseconds of the processor a page, the mean over some pages.
    struct Sample: Equatable, Sendable {
        var ours: Double, lz4: Double

        /// - Parameter pages: that each of the two had, at least one.
        init(ours: Cost, lz4: Cost, pages: Int) {
            self.ours = Double(ours.time) / 1000 / Double(pages)
            self.lz4 = Double(lz4.time) / 1000 / Double(pages)
        }
    }

    private let encoder: PageEncoder
    /// Where LZ4 packs a page to.
    private let packed: UnsafeMutableRawBufferPointer

    /// For a standby that takes every form of a page.
    init(_ shadow: PageShadow) {
        encoder = PageEncoder(.all, shadow: shadow)
        packed = .allocate(byteCount: guestPageSize, alignment: 64)
    }

    deinit { packed.deallocate() }

    /// By remusd's encoder, all that is staged.
    /// - Parameters:
    ///   - records: where its PAGE_DATA records begin.
    ///   - look: sees each frame's body, as long as it is there.
    func encode(
        _ staged: UnsafeRawBufferPointer,
        records: UnsafeBufferPointer<Int>,
        look: (UnsafeRawBufferPointer) -> Void = { _ in }
    ) -> Cost {
        var bytes = 0
        let began = Clock.thread
        encoder.begin(staged, records: records)
        while true {
            let frame = encoder.next()
            if frame.plain == 0 { break }
            bytes += FrameHeader.size + frame.body.count
            look(frame.body)
        }
        return Cost(bytes: bytes, time: Clock.thread - began)
    }

    /// By LZ4, each page as a block of its own, and nothing around it.
    /// - Parameters:
    ///   - records: where the PAGE_DATA records begin, full ones but for the last; each of their pages has content.
    ///   - pages: how many these are.
    ///   - look: sees each block, empty where the page gets no smaller, as long as it is there.
    func pack(
        _ staged: UnsafeRawBufferPointer,
        records: UnsafeBufferPointer<Int>,
        pages: Int,
        look: (UnsafeRawBufferPointer) -> Void = { _ in }
    ) -> Cost {
        guard let start = staged.baseAddress else { return Cost() }
        var (bytes, left) = (0, pages)
        let began = Clock.thread
        for record in records {
            let count = min(left, Staging.batch)
            let contents = start + record + StreamWriter.pageDataLength(entries: count, withData: 0)
            for index in 0..<count {
                let length = ckernels_lz4_encode(
                    contents + index * guestPageSize,
                    packed.baseAddress,
                    packed.count
                )
                bytes += length > 0 ? length : guestPageSize
                look(UnsafeRawBufferPointer(rebasing: packed[..<length]))
            }
            left -= count
        }
        let time = Clock.thread - began
        precondition(left == 0, "all pages are in the records")
        return Cost(bytes: bytes, time: time)
    }
}
