import Checkpoint
import EmbeddedHost
import Glibc
import Synchronization
import SystemSupport
import XenStream

/// A guest that works all the time, on a thread of its own, and whose writes the kernel notes, as an embedded guest's.
///
/// Unchecked: but for `loop`, `turns` and `committed`, only the engine's thread touches it while the engine runs.
final class LoopGuest: EngineGuest, @unchecked Sendable {
    let description: GuestDescription
    let turns = EpochTurns()
    var watch: (any EpochWatch)?
    private let memory: Mapping
    private let filled: Int
    let state = ReadyState()
    private let copier = PageCopier()
    private let scan: PagemapScan
    private var tracking: WriteTracking?
    private let loop: GuestLoop
    private let thread: WorkerThread
    private var hasEnded = false
    private var isSynced = false
    /// Collected since the last commit.
    private var collected = 0
    private let committed = Mutex((commits: 0, pages: 0))

    /// Where it stands.
    struct Count: Sendable {
        /// Nanoseconds of the monotonic clock.
        var moment: UInt64
        var operations: UInt64
        /// Epochs that were committed, but for the first.
        var commits: Int
        /// Their dirty pages, all together.
        var pages: Int
    }

    /// Starts it.
    /// - Parameters:
    ///   - filled: of its `pages` pages, those that hold something, from the first on.
    ///   - written: of these, how many it writes to.
    ///   - processor: that it runs on; nil: any.
    init(pages: Int, filled: Int, writing written: Int, on processor: Int?) throws {
        precondition(written <= filled && filled <= pages - 2, "it writes what holds something")
        description = .bench(pages: pages)
        memory = try Mapping.anonymous(count: pages * guestPageSize)
        memory.avoidHugePages()
        self.filled = filled
        scan = try PagemapScan(pid: getpid())
        var filler = PageWriter(seed: 1)
        let contents = memory.base.assumingMemoryBound(to: UInt64.self)
        filler.fill(contents, words: filled * PageWriter.wordsPerPage)
        var random = SplitMix(state: 2)
        let chosen = Array((0..<filled).shuffled(using: &random).prefix(written))
        let loop = try GuestLoop(in: memory, writing: chosen, seed: 3)
        self.loop = loop
        thread = try WorkerThread("vcpu0") { loop.run(on: processor) }
    }

    deinit { end() }

    /// Ends its thread. After its protection.
    func end() {
        guard !hasEnded else { return }
        hasEnded = true
        loop.end()
        thread.join()
    }

    /// What it has done so far. Any thread.
    var count: Count {
        let (commits, pages) = committed.withLock { $0 }
        return Count(
            moment: Clock.monotonic,
            operations: loop.operations,
            commits: commits,
            pages: pages
        )
    }

    /// Has it write nothing any more, and waits until what it wrote is committed.
    func rest() throws {
        try loop.rest()
        // The next commit may be of an epoch that was harvested before.
        let enough = count.commits + 2
        for _ in 0..<10_000 {
            try turns.check()
            if count.commits >= enough { return }
            usleep(1000)
        }
        throw BenchError("what the guest wrote is not committed within 10 s")
    }

    // MARK: Epochs

    func wasCut() {}

    func acknowledged() {
        defer { collected = 0 }
        guard isSynced else {
            isSynced = true
            return turns.synced()
        }
        let commits = committed.withLock {
            $0.commits += 1
            $0.pages += collected
            return $0.commits
        }
        watch?.acknowledged(commits)
    }

    // MARK: What the engine asks

    var eventDescriptor: Int32 { loop.stands.descriptor.raw }

    func startDirtyTracking() throws(GuestError) {
        // A second one on the same memory would be refused (EBUSY).
        tracking = nil
        do {
            tracking = try WriteTracking(memory)
            // Finds every page, and protects it.
            try scan.takeWritten(in: range) { _ in }
        } catch { throw failure(error) }
    }

    func stopDirtyTracking() { tracking = nil }

    func collectDirty(into bitmap: inout PageBitmap) throws(GuestError) {
        let base = range.lowerBound
        do {
            try scan.takeWritten(in: range) { written in
                let first = Int(written.lowerBound - base) / guestPageSize
                let end = Int(written.upperBound - base) / guestPageSize
                bitmap.insert(first..<end)
                collected += end - first
            }
        } catch { throw failure(error) }
    }

    func collectPopulated(into bitmap: inout PageBitmap) {
        bitmap.insert(0..<filled)
        bitmap.insert(description.pageCount - 2..<description.pageCount)
    }

    func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into target: UnsafeMutableRawPointer
    ) -> Int {
        copier.copy(pfns, of: memory, types: types, into: target)
    }

    func requestSuspend() { loop.stand() }

    func suspendOutcome() -> SuspendOutcome? {
        loop.stands.drain()
        return loop.isStanding ? .suspended : nil
    }

    func cancelSuspend() { resume() }

    func resume() {
        loop.stands.drain()
        loop.goOn()
    }

    private var range: Range<UInt64> {
        let base = UInt64(UInt(bitPattern: memory.base))
        return base..<base + UInt64(memory.count)
    }

    private func failure(_ error: SystemError) -> GuestError {
        GuestError(guest: BenchGuest.name, reason: "\(error)")
    }

    // MARK: What its memory should be elsewhere

    var digest: MemoryDigest {
        MemoryDigest(
            of: memory,
            pages: Array(0..<filled) + [description.pageCount - 2, description.pageCount - 1]
        )
    }
}
