/// Which pages are dirty, sent or staged, and the staging they are copied into: the primary's half of the way of a page.
///
/// What is not committed is `dirty` (written, and in no cut epoch) or `sent`: while the guest ran, or in the epoch that was cut.
/// The dirty bits of a checkpoint stay until its cut, so that an abandoned one loses none.
package struct Harvester: ~Copyable {
    /// What a step of a sync round came to.
    package enum SyncStep: Equatable, Sendable {
        /// The staged bytes are to be sent as part of `epoch`.
        case piece(epoch: UInt64, pages: Int)
        /// The guest has not got the next pages yet; its `eventDescriptor` tells when.
        case wait
        /// The round is over; it sent this many pages.
        case done(pages: Int)
    }

    private struct SyncRound {
        var epoch: UInt64
        var isWhole: Bool
        /// The stream's start is to be staged.
        var needsStart: Bool
        /// Where to go on; holes come after pages.
        var nextPage = 0
        var nextHole: Int?
        var pages = 0
    }

    private let guest: any ProtectedGuest
    private var staging: Staging
    private var dirty: PageBitmap
    private var sent: PageBitmap
    private var populated: PageBitmap
    private var sync: SyncRound?
    /// Pages sent since the stream began, and pages it began with.
    package private(set) var syncDone = 0, syncTotal = 0

    /// A harvester for `guest` that stages in `memory`, which outlives it (`Staging.capacity`).
    package init(guest: any ProtectedGuest, memory: UnsafeMutableRawBufferPointer, stateCapacity: Int) {
        self.guest = guest
        let pages = guest.description.pageCount
        staging = Staging(memory: memory, stateCapacity: stateCapacity)
        dirty = PageBitmap(pageCount: pages)
        sent = PageBitmap(pageCount: pages)
        populated = PageBitmap(pageCount: pages)
    }

    /// What is staged.
    package var bytes: UnsafeRawBufferPointer { staging.bytes }
    /// Where the PAGE_DATA records in it begin.
    package var records: UnsafeBufferPointer<Int> { staging.records }
    /// Whether a sync round is on its way.
    package var isSyncing: Bool { sync != nil }

    // MARK: While the guest runs

    /// From here on every written page is known; nothing is dirty yet.
    package mutating func startTracking() throws(GuestError) {
        dirty.removeAll()
        sent.removeAll()
        try guest.startDirtyTracking()
    }

    /// Counts the pages that hold data now.
    package mutating func countPopulated() throws(GuestError) -> Int {
        populated.removeAll()
        try guest.collectPopulated(into: &populated)
        return populated.count
    }

    /// Begins a round that sends dirty pages as part of `epoch`; with `whole`, a new stream with all of memory.
    package mutating func beginSync(epoch: UInt64, whole: Bool) throws(GuestError) {
        sync = SyncRound(epoch: epoch, isWhole: whole, needsStart: whole)
        staging.clear()
        if whole {
            syncTotal = try countPopulated()
            syncDone = 0
            dirty.formUnion(populated)
            if guest.holesAreRAM { sync?.nextHole = 0 }
        } else {
            try guest.collectDirty(into: &dirty)
        }
    }

    /// Stages the next piece of the round. The piece before it must have been sent.
    package mutating func nextSyncStep() throws(GuestError) -> SyncStep? {
        guard var round = sync else { return nil }
        if round.needsStart {
            guard try staging.stageStart(of: guest) else { return .wait }
            round.needsStart = false
            sync = round
        }
        // The stream's start is staged already when the first piece is made.
        if round.nextPage > 0 || !round.isWhole { staging.clear() }
        let staged = staging.pages
        if round.nextPage < dirty.pageCount {
            let from = round.nextPage
            guard let next = try staging.stageBatch(of: dirty, from: from, guest: guest, guestRuns: true)
            else { return .wait }
            round.nextPage = next
            sent.move(from: &dirty, startingAt: from, below: round.nextPage)
        } else if let hole = round.nextHole, hole < populated.pageCount {
            round.nextHole = staging.stageHoles(of: populated, from: hole)
        } else {
            sync = nil
            return .done(pages: round.pages)
        }
        let pages = staging.pages - staged
        round.pages += pages
        syncDone += pages
        sync = round
        return .piece(epoch: round.epoch, pages: pages)
    }

    /// Ends a round whose connection is gone.
    package mutating func endSync() { sync = nil }

    /// What was sent without being committed is dirty again. A round that began when its connection was gone already,
    /// which its owner had not heard yet, must not go on over the next one.
    package mutating func requeueSentPages() {
        sync = nil
        dirty.formUnion(sent)
        sent.removeAll()
    }

    // MARK: While it is suspended

    /// Copies every dirty page and the state.
    /// - Parameter isLate: asked between records; once true, the checkpoint is given up.
    package mutating func harvest(isLate: () -> Bool) -> HarvestResult {
        staging.clear()
        do throws(GuestError) {
            try guest.collectDirty(into: &dirty)
            let count = dirty.count
            guard staging.fits(pages: count) else { return .overCapacity(pages: count) }
            var next = 0
            while next < dirty.pageCount {
                guard let after = try staging.stageBatch(of: dirty, from: next, guest: guest) else { break }
                next = after
                if isLate() { return .late }
            }
            try staging.stageCheckpoint(of: guest)
            return .whole(pages: staging.pages)
        } catch {
            return error.voidsTracking ? .trackingLost(error.description) : .failed(error.description)
        }
    }

    /// The staged epoch was cut: what is in it is no longer dirty.
    package mutating func cut() {
        sent.formUnion(dirty)
        dirty.removeAll()
    }

    /// The epoch is committed.
    package mutating func committed() { sent.removeAll() }
}
