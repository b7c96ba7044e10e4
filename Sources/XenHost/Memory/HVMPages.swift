import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// The pages of a PVH or HVM guest: addressed by guest frame, as the guest sees them.
///
/// The frame numbers are sparse: a guest of 128 MiB has its last pages just below 4 GiB.
final class HVMPages: GuestPages {
    /// Frames that are asked about at once when everything is looked at, and by `rescanSlice`.
    private static let section = FrameTypes.limit, sliceBatch = 128
    /// How long `rescanSlice` goes on, in nanoseconds.
    private static let sliceTime: UInt64 = 300_000

    let pageCount: Int
    private let guest: String
    private let window: FrameWindow
    private let frameTypes: FrameTypes
    /// What has RAM, as of the last look.
    private var present: PageBitmap
    /// Pages of each section that have RAM.
    private var presentInSection: [Int]
    private var presentCount = 0
    private var sliceNext = 0
    let copier = PageCopier()

    init(_ hypervisor: Hypervisor, domain: UInt32, pageCount: Int) throws(GuestError) {
        self.pageCount = pageCount
        guest = hypervisor.guest
        window = try FrameWindow(hypervisor, domain: domain, pageCount: pageCount)
        frameTypes = try FrameTypes(hypervisor, domain: domain)
        present = PageBitmap(pageCount: pageCount)
        presentInSection = Array(repeating: 0, count: (pageCount + Self.section - 1) / Self.section)
    }

    /// Xen is asked page by page, and most of the frame numbers have none: first where there was RAM, then from both
    /// ends, until all is found.
    func rescan(total: Int, _ changed: inout PageBitmap) throws(GuestError) {
        let sections = presentInSection.count
        var seen = [Bool](repeating: false, count: sections)
        for index in 0..<sections where presentInSection[index] > 0 {
            seen[index] = true
            try look(atSection: index, &changed)
        }
        for index in [sections - 1] + Array(0..<sections) where !seen[index] {
            if presentCount == total { return }
            seen[index] = true
            try look(atSection: index, &changed)
        }
    }

    func rescanSlice(_ changed: inout PageBitmap) throws(GuestError) {
        let deadline = Clock.monotonic + Self.sliceTime
        repeat {
            sliceNext = try look(at: sliceNext, atMost: Self.sliceBatch, &changed)
            if sliceNext >= pageCount { sliceNext = 0 }
        } while Clock.monotonic < deadline
    }

    private func look(atSection index: Int, _ changed: inout PageBitmap) throws(GuestError) {
        _ = try look(at: index * Self.section, atMost: Self.section, &changed)
    }

    /// Asks about one batch from `first` on.
    /// - Returns: the pfn to go on from.
    private func look(at first: Int, atMost limit: Int, _ changed: inout PageBitmap) throws(GuestError) -> Int
    {
        let count = min(limit, pageCount - first)
        for index in 0..<count { frameTypes.entries[index] = UInt64(first + index) }
        try frameTypes.ask(count)
        for index in 0..<count {
            let pfn = first + index
            let isPresent = frameTypes.type(index)?.carriesData ?? false
            guard isPresent != present.contains(pfn) else { continue }
            note(pfn, isPresent)
            changed.insert(pfn)
        }
        return first + count
    }

    private func note(_ pfn: Int, _ isPresent: Bool) {
        guard isPresent != present.contains(pfn) else { return }
        if isPresent { present.insert(pfn) } else { present.remove(pfn) }
        let change = isPresent ? 1 : -1
        presentInSection[pfn / Self.section] += change
        presentCount += change
        window.drop(pfn)
    }

    func dropMappings() { window.dropAll() }

    func dropAll() { window.dropAll() }

    /// A guest of this kind has no table of its own.
    func refresh(_ dirty: borrowing PageBitmap, _ changed: inout PageBitmap) {}

    func collectPresent(into bitmap: inout PageBitmap) { bitmap.formUnion(present) }

    func copy(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer,
        isSuspended: Bool,
        later: inout PageBitmap
    ) throws(GuestError) -> Int {
        var copied = 0
        copier.clear()
        for (index, pfn) in pfns.enumerated() {
            let pfn = Int(pfn)
            // What has RAM is known, and asked anew whenever the domain's page count changes. What has none is rarely
            // written to.
            if !present.contains(pfn), try hasRAM(pfn) {
                copier.finish()
                note(pfn, true)
            }
            types[index] = present.contains(pfn) ? .normal : .absent
            guard types[index].carriesData else { continue }
            guard let page = try page(pfn) else {
                if isSuspended {
                    throw GuestError(guest: guest, reason: "page \(pfn), which it wrote, cannot be mapped")
                }
                types[index] = .absent
                later.insert(pfn)
                continue
            }
            copier.add(page, to: contents + copied * guestPageSize)
            copied += 1
        }
        copier.finish()
        return copied
    }

    private func hasRAM(_ pfn: Int) throws(GuestError) -> Bool {
        frameTypes.entries[0] = UInt64(pfn)
        try frameTypes.ask(1)
        return frameTypes.type(0)?.carriesData ?? false
    }

    /// The page, tried twice: it may have come since its chunk was mapped.
    private func page(_ pfn: Int) throws(GuestError) -> UnsafeRawPointer? {
        if let page = try window.page(pfn, { UInt64($0) }) { return page }
        // What is to be copied may be in the chunk that goes.
        copier.finish()
        window.drop(pfn)
        return try window.page(pfn) { UInt64($0) }
    }
}
