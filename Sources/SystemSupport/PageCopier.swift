import CKernels
import Glibc
import Synchronization

/// Copies pages on two processors where there are two: on the caller's, and on that of a thread which sleeps until there is
/// something to do. Copying is most of a pause, and most of copying is waiting for memory, which two do at the same time.
///
/// The helper has the scheduling that its owner had when `pauseComes` was called: one that is behind others would have a real-time
/// owner wait for them.
///
/// Belongs to one thread. Allocates nothing after `init`.
package final class PageCopier {
    /// The most copies between two calls of `finish`.
    package static let capacity = 1024
    /// So few are copied in about the time that waking the helper takes.
    private static let alone = 400
    /// So few are not worth sharing either where the helper is awake.
    private static let aloneAwake = 96
    /// In nanoseconds: a helper that was woken so long ago still looks out (`CopyJob.firstLookout`).
    private static let soon: UInt64 = 100_000

    private let job = CopyJob(capacity: PageCopier.capacity)
    private let helper: WorkerThread?
    private var count = 0
    /// Pages copied since the last pause began.
    private var pages = 0
    /// The last pause had enough of them for two.
    private var wasWorthIt = false
    /// When the last pause was asked for, in nanoseconds, and whether it had come before a helper woken then would have slept again.
    private var asked: UInt64 = 0
    private var cameSoon = false

    /// - Parameter helped: whether there is a second thread; nil: if the process has a second processor.
    package init(helped: Bool? = nil) {
        let job = job
        // Without a helper, the work is done all the same.
        helper =
            helped ?? (ProcessorPin.allowed.count > 1)
            ? try? WorkerThread("copy") { job.help() } : nil
    }

    deinit {
        job.end()
        helper?.join()
    }

    /// A pause is about to be asked for. Where the last one came soon and was worth it, the helper is woken while the guest still runs.
    package func pauseComes() {
        asked = Clock.monotonic
        job.noteOwner()
        if wasWorthIt, cameSoon, helper != nil { job.wake() }
    }

    /// A pause begins, and its pages are still being found: the helper is woken meanwhile, if the last one was worth it.
    package func pauseBegins() {
        cameSoon = Clock.monotonic - asked < Self.soon
        if wasWorthIt, helper != nil { job.wake() }
        pages = 0
    }

    /// It is over.
    package func pauseEnds() { wasWorthIt = pages > Self.alone }

    /// Copies one page of 4096 bytes, now.
    package static func copy(_ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer) {
        ckernels_copy_page(target, source)
    }

    /// Has a page of 4096 bytes copied by the next `finish` at the latest. Both stay where they are until then.
    package func add(_ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer) {
        precondition(count < Self.capacity, "more pages than there is room for")
        job.sources[count] = source
        job.targets[count] = target
        count += 1
        if count > Self.alone, helper != nil { job.wake() }
    }

    /// Drops what was added since the last `finish`.
    package func clear() { count = 0 }

    /// Copies what was added.
    package func finish() {
        guard count > 0 else { return }
        let few = job.isAwake ? Self.aloneAwake : Self.alone
        job.copy(count, alone: helper == nil || count <= few)
        pages += count
        count = 0
    }
}

/// What is to be copied, and how far it has come. Both threads take shares of it until none is left.
///
/// Unchecked: `sources` and `targets` are written by the owner only while no share of them is out, which `ticket` and `copied`
/// order; `number` is the owner's alone.
private final class CopyJob: @unchecked Sendable {
    /// Pages that are taken at once.
    private static let share = 32
    /// How long the helper looks out for the next job before it sleeps, in nanoseconds: jobs of one pause come without a break, and
    /// then the processor is somebody else's.
    private static let lookout: UInt64 = 30_000
    /// How long for the first one after it was woken.
    ///
    /// `sched_yield` of a real-time helper leaves the processor to its equals only. Ordinary threads there wait for the pages that it
    /// copies, and that long besides, once a pause: less than the slice (0.75 ms and more) that they give each other.
    private static let firstLookout: UInt64 = 150_000
    /// How often the owner looks, some 0.2 ms, for a share that the helper has taken, which is some 10 us of copying.
    private static let looks = 1000

    let sources: UnsafeMutablePointer<UnsafeRawPointer?>
    let targets: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    /// The job's number (32 bits), its pages (16), and the first that nobody has taken (16): taken in one step, so that nobody
    /// takes from a job that is not the running one.
    private let ticket = Atomic<UInt64>(0)
    /// Pages of the running job that are copied.
    private let copied = Atomic<Int>(0)
    /// Where the owner ran when it woke the helper, and its `SchedulingPolicy` before the pause.
    private let ownersProcessor = Atomic<Int32>(-1)
    private let ownersPolicy = Atomic<UInt64>(SchedulingPolicy.current.bits)
    private let isAsleep = Atomic<Bool>(false)
    private let isLooking = Atomic<Bool>(false)
    private let isOver = Atomic<Bool>(false)
    private let wakeUp = try? EventFD()
    private var number: UInt64 = 0

    init(capacity: Int) {
        sources = .allocate(capacity: capacity)
        sources.initialize(repeating: nil, count: capacity)
        targets = .allocate(capacity: capacity)
        targets.initialize(repeating: nil, count: capacity)
    }

    deinit {
        sources.deallocate()
        targets.deallocate()
    }

    // MARK: The owner

    /// Copies the first `count` pages. Returns when all are copied.
    func copy(_ count: Int, alone: Bool) {
        if alone { return ckernels_copy_pages(CKERNELS_BEST, sources, targets, count, count) }
        number = (number + 1) & 0xFFFF_FFFF
        copied.store(0, ordering: .relaxed)
        ticket.store(number << 32 | UInt64(count) << 16, ordering: .releasing)
        while takeShare() {}
        // The rest is being copied by the helper, a share of it at most. Where something else has the helper's processor, a real-time
        // owner that went on looking would have its own for nothing.
        var looks = Self.looks
        while copied.load(ordering: .acquiring) < count {
            if looks > 0 {
                looks -= 1
                sched_yield()
            } else {
                usleep(50)
            }
        }
    }

    /// Whether the helper is looking out for a job.
    var isAwake: Bool { isLooking.load(ordering: .relaxed) }

    /// Asks the kernel for the owner's policy: two calls that no pause is to wait for.
    func noteOwner() { ownersPolicy.store(SchedulingPolicy.current.bits, ordering: .relaxed) }

    /// Wakes the helper if it sleeps.
    func wake() {
        guard isAsleep.load(ordering: .relaxed), isAsleep.exchange(false, ordering: .relaxed) else { return }
        ownersProcessor.store(ProcessorPin.current, ordering: .relaxed)
        wakeUp?.signal()
    }

    /// The helper returns.
    func end() {
        isOver.store(true, ordering: .relaxed)
        wakeUp?.signal()
    }

    // MARK: Both

    private func takeShare() -> Bool {
        var seen = ticket.load(ordering: .acquiring)
        while true {
            let (next, count) = (Int(seen & 0xFFFF), Int(seen >> 16 & 0xFFFF))
            guard next < count else { return false }
            let end = min(next + Self.share, count)
            let (isTaken, now) = ticket.compareExchange(
                expected: seen,
                desired: seen & ~0xFFFF | UInt64(end),
                ordering: .acquiringAndReleasing
            )
            if isTaken {
                ckernels_copy_pages(
                    CKERNELS_BEST,
                    sources + next,
                    targets + next,
                    end - next,
                    count - next
                )
                copied.add(end - next, ordering: .releasing)
                return true
            }
            seen = now
        }
    }

    // MARK: The helper

    func help() {
        guard let wakeUp else { return }
        let processors = ProcessorPin.allowed.map { Int32($0) }
        var avoided: Int32 = -1
        var policy = SchedulingPolicy.current
        while true {
            isAsleep.store(true, ordering: .relaxed)
            _ = Poll.wait(wakeUp.descriptor.raw, milliseconds: -1)
            isAsleep.store(false, ordering: .relaxed)
            wakeUp.drain()
            if isOver.load(ordering: .relaxed) { return }
            // On the owner's own processor it would keep the owner waiting for what it has taken.
            let owners = ownersProcessor.load(ordering: .relaxed)
            if owners != avoided {
                ProcessorPin.avoid(owners, of: processors)
                avoided = owners
            }
            let wanted = SchedulingPolicy(bits: ownersPolicy.load(ordering: .relaxed))
            if wanted != policy {
                // Then the owner copies alone.
                guard (try? wanted.apply()) != nil else { continue }
                policy = wanted
            }
            lookOut()
        }
    }

    /// Takes shares of one job after the other, until none has come for a while.
    private func lookOut() {
        isLooking.store(true, ordering: .relaxed)
        var end = Clock.monotonic + Self.firstLookout
        repeat {
            if takeShare() {
                end = Clock.monotonic + Self.lookout
            } else {
                // Whoever wants the processor meanwhile has it.
                sched_yield()
            }
        } while Clock.monotonic < end && !isOver.load(ordering: .relaxed)
        // A job that comes just now is the owner's alone.
        isLooking.store(false, ordering: .relaxed)
    }
}
