import CXen
import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// The pages of a PV guest: addressed by machine frame, found through the guest's own table.
///
/// Xen's bitmap has pfns. A page whose frame was exchanged is not in it, but the page of the table that says so is: so the
/// table's dirty pages are compared with what was read last.
final class PVPages: GuestPages {
    /// Pages of the table that `rescanSlice` compares.
    private static let slicePages = 16

    let frames: PVFrames
    private let guest: String
    private let window: FrameWindow
    private let frameTypes: FrameTypes
    private let normalizer: PageTableNormalizer
    private var sliceNext = 0
    let copier = PageCopier()
    /// The table must be compared whole at the next checkpoint.
    private var isStale = true

    var pageCount: Int { frames.pageCount }

    init(_ hypervisor: Hypervisor, _ frames: PVFrames, domain: UInt32) throws(GuestError) {
        self.frames = frames
        guest = hypervisor.guest
        window = try FrameWindow(hypervisor, domain: domain, pageCount: frames.pageCount)
        frameTypes = try FrameTypes(hypervisor, domain: domain)
        var compat: UInt64?
        if frames.info == .pv32 {
            var frame: UInt64 = 0
            try hypervisor.check(
                "ask where Xen's table for 32-bit guests is",
                CXen_compat_table_frame(hypervisor.raw, &frame)
            )
            compat = frame
        }
        normalizer = PageTableNormalizer(info: frames.info, compatTable: compat)
    }

    func rescan(total: Int, _ changed: inout PageBitmap) throws(GuestError) { try compareAll(&changed) }

    private func compareAll(_ changed: inout PageBitmap) throws(GuestError) {
        for index in 0..<frames.tablePageCount { try look(index, &changed) }
    }

    func rescanSlice(_ changed: inout PageBitmap) throws(GuestError) {
        for _ in 0..<min(Self.slicePages, frames.tablePageCount) {
            if sliceNext >= frames.tablePageCount { sliceNext = 0 }
            try look(sliceNext, &changed)
            sliceNext += 1
        }
    }

    private func look(_ index: Int, _ changed: inout PageBitmap) throws(GuestError) {
        try frames.look(atTablePage: index) { pfn in
            changed.insert(pfn)
            window.drop(pfn)
        }
    }

    func dropMappings() { window.dropAll() }

    func dropAll() {
        window.dropAll()
        frames.dropAll()
    }

    func refresh(_ dirty: borrowing PageBitmap, _ changed: inout PageBitmap) throws(GuestError) {
        var whole = isStale
        isStale = true
        if try frames.tableMoved() {
            try frames.relocate()
            whole = true
        }
        if whole {
            try compareAll(&changed)
        } else {
            for (index, pfn) in frames.tablePages.enumerated() where dirty.contains(Int(pfn)) {
                try look(index, &changed)
            }
        }
        // A page of the table that got another frame is seen as a change of its own pfn.
        if frames.tablePages.contains(where: { changed.contains(Int($0)) }) {
            try frames.relocate()
            try compareAll(&changed)
            whole = true
        }
        if whole, !frames.tablePages.isEmpty, try frames.currentTablePages() != frames.tablePages {
            // The stream has told where the table is, once for all.
            throw GuestError(
                guest: guest,
                reason: "it keeps its table of frames in other pages now",
                voidsTracking: true
            )
        }
        isStale = false
    }

    func collectPresent(into bitmap: inout PageBitmap) {
        for pfn in 0..<pageCount where frames.frame(pfn) != PVFrames.none { bitmap.insert(pfn) }
    }

    func copy(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer,
        isSuspended: Bool,
        later: inout PageBitmap
    ) throws(GuestError) -> Int {
        // What has no frame is not asked about: Xen is told a frame that is nobody's.
        for (index, pfn) in pfns.enumerated() { frameTypes.entries[index] = frames.frame(Int(pfn)) }
        try frameTypes.ask(pfns.count)
        var copied = 0
        copier.clear()
        for (index, pfn) in pfns.enumerated() {
            let pfn = Int(pfn)
            guard frames.frame(pfn) != PVFrames.none else {
                types[index] = .absent
                continue
            }
            guard let type = frameTypes.type(index) else {
                throw GuestError(guest: guest, reason: "Xen gives page \(pfn) a type that no stream knows")
            }
            types[index] = type
            guard type.carriesData else { continue }
            let target = contents + copied * guestPageSize
            if let problem = try copyPage(pfn, type, target) {
                if isSuspended { throw GuestError(guest: guest, reason: "page \(pfn): \(problem)") }
                types[index] = .absent
                later.insert(pfn)
            } else {
                copied += 1
            }
        }
        copier.finish()
        return copied
    }

    /// - Returns: why it cannot be copied now, nil if it was.
    private func copyPage(
        _ pfn: Int,
        _ type: PageType,
        _ target: UnsafeMutableRawPointer
    ) throws(GuestError) -> String? {
        var found = try window.page(pfn, frames.frame)
        if found == nil {
            // What is to be copied may be in the chunk that goes.
            copier.finish()
            window.drop(pfn)
            found = try window.page(pfn, frames.frame)
        }
        guard let page = found else { return "it was written, and cannot be mapped" }
        guard let level = type.tableLevel else {
            copier.add(page, to: target)
            return nil
        }
        switch normalizer.normalize(page, level: level, into: target, frames) {
        case .done: return nil
        case .unresolved(let frame):
            return "this page table of level \(level) maps frame \(frame), which is not the guest's own"
        case .superpage:
            return "this page table of level \(level) maps a superpage, which cannot be replicated"
        }
    }
}
