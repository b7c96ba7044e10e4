import XenStream

/// One epoch's bytes as they go to the standby: PAGE_DATA records, state, CHECKPOINT, CHECKPOINT_END, back to back, so
/// that sending, repeating and checksumming it is one pass over one piece of memory. Pages are copied straight to
/// their place in it, which is all that happens to them inside the pause.
///
/// Works in memory it is given and allocates nothing after `init`.
package struct Staging: ~Copyable {
    /// The most PFNs of one PAGE_DATA record, as Xen's own sender has it (libxc stream, "PAGE_DATA").
    package static let batch = 1024

    private var writer: StreamWriter
    private let stateCapacity: Int
    private let pfns: UnsafeMutableBufferPointer<UInt64>
    private let types: UnsafeMutableBufferPointer<PageType>
    /// Where PAGE_DATA records begin in what is staged, as far as there is room for them.
    private let starts: UnsafeMutableBufferPointer<Int>
    private var startCount = 0
    /// Pages with content staged since `clear`.
    package private(set) var pages = 0

    /// Bytes of memory to hand to `init` for at most `pages` pages and `stateCapacity` bytes of records.
    package static func capacity(pages: Int, stateCapacity: Int) -> Int {
        let batches = (pages + batch - 1) / batch
        return pages * (guestPageSize + 8) + batches * 16 + stateCapacity + 64
    }

    /// Staging in `memory`, which outlives it; `stateCapacity` bytes of it are kept for records that are not pages.
    package init(memory: UnsafeMutableRawBufferPointer, stateCapacity: Int) {
        writer = StreamWriter(memory)
        self.stateCapacity = stateCapacity
        pfns = .allocate(capacity: Self.batch)
        types = .allocate(capacity: Self.batch)
        types.initialize(repeating: .normal)
        // Whole batches, but for the last of the pages and that of the holes.
        starts = .allocate(capacity: memory.count / Self.capacity(pages: Self.batch, stateCapacity: 0) + 4)
    }

    deinit {
        pfns.deallocate()
        types.deallocate()
        starts.deallocate()
    }

    /// What was staged since `clear`.
    package var bytes: UnsafeRawBufferPointer { writer.written }

    /// Where its PAGE_DATA records begin, ascending.
    package var records: UnsafeBufferPointer<Int> { UnsafeBufferPointer(rebasing: starts[..<startCount]) }

    private mutating func noteRecord() {
        guard startCount < starts.count else { return }
        starts[startCount] = writer.count
        startCount += 1
    }

    /// Begins anew.
    package mutating func clear() {
        writer.reset()
        pages = 0
        startCount = 0
    }

    /// Whether `count` more pages fit.
    package func fits(pages count: Int) -> Bool {
        Self.capacity(pages: count, stateCapacity: stateCapacity) <= writer.room
    }

    /// Stages the pages of `dirty` from `start` on, at most one record's worth.
    /// - Parameter guestRuns: nothing is staged if the guest has not got the pages yet.
    /// - Returns: the pfn to go on from; `dirty.pageCount` when none is left, nil when the guest has to be asked again later.
    package mutating func stageBatch(
        of dirty: borrowing PageBitmap,
        from start: Int,
        guest: any ProtectedGuest,
        guestRuns: Bool = false
    ) throws(GuestError) -> Int? {
        let (count, resume) = dirty.next(from: start, into: pfns)
        guard count > 0 else { return resume }
        let batch = UnsafeBufferPointer(rebasing: pfns[..<count])
        if guestRuns, try !guest.hasPages(batch) { return nil }
        let contents = writer.memory.baseAddress.map {
            $0 + writer.count + StreamWriter.pageDataLength(entries: count, withData: 0)
        }
        guard let contents else { return resume }
        pages += try guest.copyPages(
            batch,
            types: UnsafeMutableBufferPointer(rebasing: types[..<count]),
            into: contents
        )
        noteRecord()
        _ = writer.beginPageData(batch, types: UnsafeBufferPointer(rebasing: types[..<count]))
        return resume
    }

    /// Stages pages that were never written as "allocate only" (type XALLOC), at most one record's worth: the image
    /// keeps the guest's whole extent, and nothing is sent or populated for them.
    /// - Returns: the pfn to go on from.
    package mutating func stageHoles(of populated: borrowing PageBitmap, from start: Int) -> Int {
        var count = 0
        var pfn = start
        while pfn < populated.pageCount, count < Self.batch {
            if !populated.contains(pfn) {
                pfns[count] = PageEntry(pfn: UInt64(pfn), type: .allocateOnly).encoded
                count += 1
            }
            pfn += 1
        }
        if count > 0 {
            noteRecord()
            _ = writer.beginPageData(encoded: UnsafeBufferPointer(rebasing: pfns[..<count]))
        }
        return pfn
    }

    /// Stages the headers and the static data: what a stream begins with.
    /// - Returns: false, and nothing is staged, if the guest has not got them yet.
    package mutating func stageStart(of guest: any ProtectedGuest) throws(GuestError) -> Bool {
        guard try guest.hasPages(UnsafeBufferPointer(start: nil, count: 0)) else { return false }
        let description = guest.description
        description.config.withUnsafeBytes { writer.appendXLHeader(json: $0) }
        writer.appendLibxlHeader()
        writer.appendRecord(.libxcContext, body: UnsafeRawBufferPointer(start: nil, count: 0))
        writer.appendImageHeader()
        writer.appendDomainHeader(DomainHeader(kind: description.kind, xenMajor: 4, xenMinor: 17))
        try guest.writeStatic(into: &writer)
        return true
    }

    /// Stages the state of a suspended guest and the checkpoint's end in both layers.
    package mutating func stageCheckpoint(of guest: any ProtectedGuest) throws(GuestError) {
        try guest.writeState(into: &writer)
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        writer.appendRecord(LibxcRecordType.checkpoint, body: empty)
        try guest.writeDeviceModel(into: &writer)
        writer.appendRecord(LibxlRecordType.checkpointEnd, body: empty)
    }
}
