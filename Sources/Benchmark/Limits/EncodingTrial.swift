import Checkpoint
import SystemSupport

/// What it costs the processor to encode an epoch's pages: by remusd's own encoder, as differences from what was sent last, and
/// by LZ4 alone. Both find the same pages, staged anew as the engine does it, in turns.
///
/// Unchecked: one thread uses it, or waits for the one that does.
final class EncodingTrial: @unchecked Sendable {
    private let guest: BenchGuest
    private let shadowMemory: Mapping, stagingMemory: Mapping
    private let shadow: PageShadow
    private let encoders: BothEncoders
    private var staging: Staging
    private var dirty: PageBitmap

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
        encoders = BothEncoders(shadow)
        stagingMemory = try Mapping.anonymous(
            count: Staging.capacity(pages: Staging.batch, stateCapacity: 0)
        )
        staging = Staging(memory: stagingMemory.bytes, stateCapacity: 0)
        dirty = PageBitmap(pageCount: pages)
    }

    /// Encodes some epochs, of at most 1024 pages each.
    /// - Parameter processor: nil: any.
    /// - Returns: a sample for each epoch.
    func play(_ order: EpochOrder, on processor: Int?) throws -> [BothEncoders.Sample] {
        precondition(order.pages <= Staging.batch, "one record holds them")
        let samples = try MeasuringThread.run("encode", on: processor) { [self] in try run(order) }
        guard digest == guest.digest else { throw BenchError("not every page was encoded") }
        return samples
    }

    private func run(_ order: EpochOrder) throws -> [BothEncoders.Sample] {
        var samples: [BothEncoders.Sample] = []
        samples.reserveCapacity(order.epochs)
        guest.begin(order)
        for number in 0..<order.epochs {
            guest.runEpoch(order)
            dirty.removeAll()
            guest.collectDirty(into: &dirty)
            shadow.commit()
            // Whoever is second finds the guest's pages warmer.
            var ours = BothEncoders.Cost()
            if number % 2 == 0 { ours = try encode() }
            let lz4 = try pack()
            if number % 2 != 0 { ours = try encode() }
            samples.append(BothEncoders.Sample(ours: ours, lz4: lz4, pages: staging.pages))
        }
        return samples
    }

    private func stage() throws(GuestError) {
        staging.clear()
        _ = try staging.stageBatch(of: dirty, from: 0, guest: guest)
    }

    private func encode() throws -> BothEncoders.Cost {
        try stage()
        let cost = encoders.encode(staging.bytes, records: staging.records)
        guard cost.bytes < staging.pages * guestPageSize / 8 else {
            throw BenchError("\(staging.pages) pages became \(cost.bytes) bytes: these are no differences")
        }
        return cost
    }

    private func pack() throws -> BothEncoders.Cost {
        try stage()
        guard !staging.records.isEmpty else { throw BenchError("no page was staged") }
        return encoders.pack(staging.bytes, records: staging.records, pages: staging.pages)
    }

    /// Of what the standby would have.
    private var digest: MemoryDigest {
        MemoryDigest(of: shadowMemory, pages: 0..<guest.description.pageCount)
    }
}
