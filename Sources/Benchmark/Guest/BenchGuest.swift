import Checkpoint
import EmbeddedHost
import Glibc
import SystemSupport
import XenStream

/// A guest that costs nothing: memory of this process, which suspends at once, has 8 KiB of state at hand and knows its
/// dirty pages, as a bitmap that is ready. What is left of a checkpoint is the engine's.
///
/// It runs on the engine's thread, between the ack of one epoch and the suspend of the next.
///
/// Unchecked: but for `turns`, only the engine's thread touches it while the engine runs.
final class BenchGuest: EngineGuest, @unchecked Sendable {
    static let name = "bench"

    let description: GuestDescription
    let turns = EpochTurns()
    /// Set before the engine runs.
    var watch: (any EpochWatch)?
    private let memory: Mapping
    private let dirty: UnsafeMutableBufferPointer<UInt64>
    private let populated: UnsafeMutableBufferPointer<UInt64>
    let state = ReadyState()
    private let suspended: EventFD
    private let copier = PageCopier()

    private var writer = PageWriter(seed: 0)
    private var order: EpochOrder?
    private var samples: [EpochSample] = []
    private var sample = EpochSample()
    private var isCut = false
    /// When the sweep of the running epoch began.
    private var sweptAt: UInt64?
    private var isSynced = false
    private var isSuspended = false

    /// A guest of `pages` pages, the first `filled` of which were written: with anything but for those of `zeros`.
    init(pages: Int, filled: Int, zeros: ZeroPages = ZeroPages(percent: 0)) throws {
        description = .bench(pages: pages)
        memory = try Mapping.anonymous(count: pages * guestPageSize)
        memory.avoidHugePages()
        let words = (pages + 63) / 64
        dirty = .allocate(capacity: words)
        dirty.initialize(repeating: 0)
        populated = .allocate(capacity: words)
        populated.initialize(repeating: 0)
        suspended = try EventFD()
        var filler = PageWriter(seed: 1)
        for pfn in 0..<filled {
            let page = contents + pfn * PageWriter.wordsPerPage
            // Written too: reading what nobody wrote would find one and the same page of the kernel's, in the cache.
            if zeros.contains(pfn) {
                page.pointee = 0
            } else {
                filler.fill(page, words: PageWriter.wordsPerPage)
            }
        }
        for pfn in Array(0..<filled) + [pages - 2, pages - 1] { populated[pfn >> 6] |= 1 << UInt64(pfn & 63) }
    }

    deinit {
        dirty.deallocate()
        populated.deallocate()
    }

    private var contents: UnsafeMutablePointer<UInt64> {
        memory.base.assumingMemoryBound(to: UInt64.self)
    }

    // MARK: Epochs

    /// Begins an order.
    func begin(_ next: EpochOrder) {
        order = next
        writer = PageWriter(seed: next.seed)
        samples.removeAll()
        samples.reserveCapacity(next.epochs)
        watch?.began(next)
    }

    /// The guest runs: writes its pages, and rests.
    func runEpoch(_ order: EpochOrder) {
        watch?.guestRuns()
        defer { watch?.guestRan() }
        write(order.pages)
        if order.rest > 0 { usleep(order.rest) }
    }

    /// Writes some pages: these are the dirty ones then.
    private func write(_ count: Int) {
        guard let bits = dirty.baseAddress else { return }
        dirty.update(repeating: 0)
        writer.write(pages: count, of: description.pageCount, in: contents, dirty: bits)
        for index in dirty.indices { populated[index] |= dirty[index] }
    }

    /// It has run while it was swept, and written meanwhile.
    private func runOn() {
        guard let sweptAt else { return }
        self.sweptAt = nil
        guard let order, order.spread > 0 else { return write(0) }
        let share = Double(Clock.boot - sweptAt) / (Double(order.spread) * 1000)
        write(Int(min(share, 1) * Double(order.pages)))
    }

    /// The epoch was acknowledged.
    func acknowledged() {
        sample.acknowledged = Clock.boot
        guard let order else {
            isSynced = true
            return turns.synced()
        }
        if !isCut { return fail("an epoch was acknowledged that was never cut") }
        isCut = false
        samples.append(sample)
        watch?.acknowledged(samples.count)
        if samples.count < order.epochs { return runEpoch(order) }
        self.order = nil
        turns.played(samples)
    }

    func wasCut() {
        sample.cut = Clock.boot
        isCut = true
    }

    private func fail(_ trouble: String) { turns.failed(trouble) }

    // MARK: What the engine asks

    /// The engine asks for it each time before it waits.
    var eventDescriptor: Int32 {
        watch?.looked()
        return suspended.descriptor.raw
    }

    func startDirtyTracking() { dirty.update(repeating: 0) }
    func stopDirtyTracking() {}

    /// The bitmap is ready: it is cleared when the guest runs again, as the peer's is.
    func collectDirty(into bitmap: inout PageBitmap) {
        if isSuspended { copier.pauseBegins() } else { sweptAt = Clock.boot }
        bitmap.formUnion(words: UnsafeBufferPointer(dirty))
    }

    func collectPopulated(into bitmap: inout PageBitmap) {
        bitmap.formUnion(words: UnsafeBufferPointer(populated))
    }

    func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into target: UnsafeMutableRawPointer
    ) -> Int {
        copier.copy(pfns, of: memory, types: types, into: target)
    }

    /// Asked before each suspend: what it wrote, if there is an order, is there by then.
    func wantsSweep() throws(GuestError) -> Bool {
        if isSynced, order == nil {
            guard let next = turns.nextOrder() else {
                throw GuestError(guest: Self.name, reason: "the benchmark is over")
            }
            begin(next)
            runEpoch(next)
        }
        return false
    }

    func requestSuspend() {
        runOn()
        copier.pauseComes()
        isSuspended = true
        // There is an answer already.
        suspended.signal()
        sample.suspended = Clock.boot
    }

    func suspendOutcome() -> SuspendOutcome? { .suspended }
    var suspendedSince: Instant? { Instant(nanoseconds: sample.suspended) }
    func cancelSuspend() { suspended.drain() }

    func resume() {
        sample.resumed = Clock.boot
        copier.pauseEnds()
        isSuspended = false
        suspended.drain()
        guard order != nil else { return }
        if !isCut { fail("a checkpoint was abandoned") }
        watch?.resumed(sample.resumed)
    }

    // MARK: What its memory should be elsewhere

    /// Of all pages that hold something. The guest waits for an order meanwhile.
    var digest: MemoryDigest {
        MemoryDigest(
            of: memory,
            pages: (0..<description.pageCount).lazy.filter { [populated] pfn in
                populated[pfn >> 6] & (1 << UInt64(pfn & 63)) != 0
            }
        )
    }
}
