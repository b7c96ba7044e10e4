import Checkpoint
import Glibc
import XenStream

/// The pages of a PVH or HVM guest: addressed by guest frame, as the guest sees them.
///
/// The frame numbers are sparse: a guest of 128 MiB has its last pages just below 4 GiB.
final class HVMPages: GuestPages {
    /// Batches that `rescanSlice` asks about.
    private static let sliceBatches = 8

    let pageCount: Int
    private let guest: String
    private let window: FrameWindow
    private let frameTypes: FrameTypes
    /// What has RAM, as of the last look.
    private var present: PageBitmap
    private var sliceNext = 0

    init(_ hypervisor: Hypervisor, domain: UInt32, pageCount: Int) throws(GuestError) {
        self.pageCount = pageCount
        guest = hypervisor.guest
        window = try FrameWindow(hypervisor, domain: domain, pageCount: pageCount)
        frameTypes = try FrameTypes(hypervisor, domain: domain)
        present = PageBitmap(pageCount: pageCount)
    }

    func rescan(_ changed: inout PageBitmap) throws(GuestError) {
        var next = 0
        while next < pageCount { next = try look(at: next, &changed) }
    }

    func rescanSlice(_ changed: inout PageBitmap) throws(GuestError) {
        for _ in 0..<Self.sliceBatches {
            sliceNext = try look(at: sliceNext, &changed)
            if sliceNext >= pageCount {
                sliceNext = 0
                return
            }
        }
    }

    /// Asks about one batch from `first` on.
    /// - Returns: the pfn to go on from.
    private func look(at first: Int, _ changed: inout PageBitmap) throws(GuestError) -> Int {
        let count = min(FrameTypes.limit, pageCount - first)
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
        if isPresent { present.insert(pfn) } else { present.remove(pfn) }
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
        for (index, pfn) in pfns.enumerated() { frameTypes.entries[index] = pfn }
        try frameTypes.ask(pfns.count)
        var copied = 0
        for (index, pfn) in pfns.enumerated() {
            let pfn = Int(pfn)
            guard let type = frameTypes.type(index) else {
                throw GuestError(guest: guest, reason: "Xen gives page \(pfn) a type that no stream knows")
            }
            types[index] = type
            // What was a hole when its chunk was mapped is mapped anew; what no longer is RAM is let go.
            if type.carriesData != present.contains(pfn) { note(pfn, type.carriesData) }
            guard type.carriesData else { continue }
            guard let page = try page(pfn) else {
                if isSuspended {
                    throw GuestError(guest: guest, reason: "page \(pfn), which it wrote, cannot be mapped")
                }
                types[index] = .absent
                later.insert(pfn)
                continue
            }
            memcpy(contents + copied * guestPageSize, page, guestPageSize)
            copied += 1
        }
        return copied
    }

    /// The page, tried twice: it may have come since its chunk was mapped.
    private func page(_ pfn: Int) throws(GuestError) -> UnsafeRawPointer? {
        if let page = try window.page(pfn, { UInt64($0) }) { return page }
        window.drop(pfn)
        return try window.page(pfn) { UInt64($0) }
    }
}
