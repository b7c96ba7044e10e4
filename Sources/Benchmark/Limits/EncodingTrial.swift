import CKernels
import Checkpoint
import SystemSupport
import XenStream

/// What it costs the processor to encode an epoch's pages: by remusd's own encoder, as differences from what was sent last, and
/// by LZ4 alone. Both find the same pages, staged anew as the engine does it, in turns.
///
/// Unchecked: one thread uses it, or waits for the one that does.
final class EncodingTrial: @unchecked Sendable {
    /// For the table.
    static let name = "LZ4"

    /// Of one epoch: microseconds of the processor a page.
    struct Sample: Equatable, Sendable {
        var ours: Double, lz4: Double
    }

    private let guest: BenchGuest
    private let shadowMemory: Mapping, stagingMemory: Mapping
    private let shadow: PageShadow
    private let encoder: PageEncoder
    private var staging: Staging
    private var dirty: PageBitmap
    /// Where LZ4 packs a page to.
    private let packed: UnsafeMutableRawBufferPointer
    private var samples: [Sample] = []
    private var trouble: String?

    /// A trial on a guest of `pages` pages, all of which hold something and were sent.
    init(pages: Int) throws {
        guest = try BenchGuest(pages: pages, filled: pages)
        shadowMemory = try Mapping.anonymous(count: pages * guestPageSize)
        // As the engine's.
        shadowMemory.preferHugePages()
        var filler = PageWriter(seed: 1)
        filler.fill(
            shadowMemory.base.assumingMemoryBound(to: UInt64.self),
            words: pages * PageWriter.wordsPerPage
        )
        shadow = PageShadow(memory: shadowMemory.bytes, pageCount: pages)
        shadow.restart()
        encoder = PageEncoder(.all, shadow: shadow)
        stagingMemory = try Mapping.anonymous(
            count: Staging.capacity(pages: Staging.batch, stateCapacity: 0)
        )
        staging = Staging(memory: stagingMemory.bytes, stateCapacity: 0)
        dirty = PageBitmap(pageCount: pages)
        packed = .allocate(byteCount: guestPageSize, alignment: 64)
    }

    deinit { packed.deallocate() }

    /// Encodes some epochs, of at most 1024 pages each.
    /// - Parameter processor: nil: any.
    func play(_ order: EpochOrder, on processor: Int?) throws -> [Sample] {
        precondition(order.pages <= Staging.batch, "one record holds them")
        (samples, trouble) = ([], nil)
        samples.reserveCapacity(order.epochs)
        try WorkerThread("encode") { [self] in run(order, processor) }.join()
        if let trouble { throw BenchError(trouble) }
        guard digest == guest.digest else { throw BenchError("not every page was encoded") }
        return samples
    }

    private func run(_ order: EpochOrder, _ processor: Int?) {
        do {
            if let processor { try ProcessorPin.pin(to: processor) }
            guest.begin(order)
            for number in 0..<order.epochs {
                guest.runEpoch(order)
                dirty.removeAll()
                guest.collectDirty(into: &dirty)
                shadow.commit()
                // Whoever is second finds the guest's pages warmer.
                var sample = Sample(ours: 0, lz4: 0)
                if number % 2 == 0 { sample.ours = try encode() }
                sample.lz4 = try pack()
                if number % 2 != 0 { sample.ours = try encode() }
                samples.append(sample)
            }
        } catch {
            trouble = "\(error)"
        }
    }

    private func stage() throws(GuestError) {
        staging.clear()
        _ = try staging.stageBatch(of: dirty, from: 0, guest: guest)
    }

    /// All frames, with all that is in them.
    private func encode() throws -> Double {
        try stage()
        var bytes = 0
        let began = Clock.thread
        encoder.begin(staging.bytes, records: staging.records)
        while true {
            let frame = encoder.next()
            if frame.plain == 0 { break }
            bytes += frame.body.count
        }
        let time = Clock.thread - began
        guard bytes < staging.pages * guestPageSize / 8 else {
            throw BenchError("\(staging.pages) pages became \(bytes) bytes: these are no differences")
        }
        return Double(time) / 1000 / Double(staging.pages)
    }

    /// Each page as a block of its own, and nothing around it.
    private func pack() throws -> Double {
        try stage()
        let pages = staging.pages
        let offset = StreamWriter.pageDataLength(entries: pages, withData: 0)
        guard let record = staging.records.first, let start = staging.bytes.baseAddress else {
            throw BenchError("no page was staged")
        }
        let contents = start + record + offset
        let began = Clock.thread
        for index in 0..<pages {
            _ = ckernels_lz4_encode(contents + index * guestPageSize, packed.baseAddress, packed.count)
        }
        return Double(Clock.thread - began) / 1000 / Double(pages)
    }

    /// Of what the standby would have.
    private var digest: MemoryDigest {
        MemoryDigest(of: shadowMemory, pages: 0..<guest.description.pageCount)
    }
}
