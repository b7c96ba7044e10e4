import Checkpoint
import Glibc
import SystemSupport

/// The machine's own limit of a pause: the same pages copied in the same order into staging like the engine's, after
/// the guest wrote them and rested as it does in an epoch; and nothing else.
final class CopyLimit {
    static let name = "memcpy"

    private let pages: Int
    private let memory: Mapping
    private let staging: Mapping
    private let placement: Placement

    init(pages: Int, filled: Int, most: Int, _ placement: Placement) throws {
        self.pages = pages
        self.placement = placement
        memory = try Mapping.anonymous(count: pages * guestPageSize)
        memory.avoidHugePages()
        staging = try Mapping.anonymous(count: Staging.capacity(pages: most, stateCapacity: 1 << 16))
        staging.preferHugePages()
        var filler = PageWriter(seed: 1)
        filler.fill(memory.base.assumingMemoryBound(to: UInt64.self), words: filled * PageWriter.wordsPerPage)
    }

    /// Microseconds of each epoch's copy.
    func play(_ order: EpochOrder) throws -> [Double] {
        let job = CopyJob(pages: pages, memory: memory, staging: staging, order: order)
        let processor = placement.primary
        try WorkerThread("copy") { job.run(on: processor) }.join()
        if let trouble = job.trouble { throw BenchError(trouble) }
        return job.times
    }
}

/// One order's copies, on a thread of their own.
///
/// Unchecked: one thread runs it, and then another reads it.
private final class CopyJob: @unchecked Sendable {
    private let pages: Int
    private let memory: Mapping
    private let staging: Mapping
    private let order: EpochOrder
    private(set) var times: [Double] = []
    private(set) var trouble: String?

    init(pages: Int, memory: Mapping, staging: Mapping, order: EpochOrder) {
        (self.pages, self.memory, self.staging, self.order) = (pages, memory, staging, order)
    }

    func run(on processor: Int) {
        do throws(SystemError) {
            try ProcessorPin.pin(to: processor)
        } catch {
            trouble = "\(error)"
            return
        }
        let dirty = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: (pages + 63) / 64)
        let pfns = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: max(order.pages, 1))
        defer {
            dirty.deallocate()
            pfns.deallocate()
        }
        guard let bits = dirty.baseAddress else { return }
        var writer = PageWriter(seed: order.seed)
        for _ in 0..<order.epochs {
            dirty.initialize(repeating: 0)
            writer.write(
                pages: order.pages,
                of: pages,
                in: memory.base.assumingMemoryBound(to: UInt64.self),
                dirty: bits
            )
            var set = PageBitmap(pageCount: pages)
            set.formUnion(words: UnsafeBufferPointer(dirty))
            let (count, _) = set.next(from: 0, into: pfns)
            if order.rest > 0 { usleep(order.rest) }
            let began = Clock.boot
            copy(pfns, count)
            times.append(Double(Clock.boot - began) / 1000)
        }
    }

    /// One copy after the other, each to where the last ended.
    private func copy(_ pfns: UnsafeMutableBufferPointer<UInt64>, _ count: Int) {
        for index in 0..<count {
            let source = memory.base + Int(pfns[index]) * guestPageSize
            memcpy(staging.base + index * guestPageSize, source, guestPageSize)
        }
    }
}
