import CXen
import Checkpoint
import Glibc
import XenStream

/// Address space for one page of a guest's, given back, and what is mapped there with it.
private final class ReservedPage {
    let base: UnsafeMutableRawPointer

    init?() {
        guard let base = CXen_reserve(1) else { return nil }
        self.base = base
    }

    deinit { CXen_unreserve(base, 1) }
}

/// A PV guest's frames: its own table from pfns to machine frames as it was read last, and the machine's table back.
final class PVFrames: FrameTranslation {
    /// What an entry says that has no frame.
    static let none = UInt64.max

    let info: PVInfo
    let pageCount: Int
    /// The machine's highest frame.
    let highest: UInt64
    /// The pfns of the pages that hold the table, which a receiver writes its own table to.
    private(set) var tablePages: [UInt64] = []
    /// The guest's shared info page, as it is now.
    let sharedInfo: UnsafeRawPointer

    private let hypervisor: Hypervisor
    private let domain: UInt32
    private let sharedInfoPage: ReservedPage
    /// For a look at any machine frame.
    private let peephole: ReservedPage
    private let machineTable: UnsafePointer<UInt64>
    private let machineTableBytes: Int
    private var tableFrames: [UInt64] = []
    private let table: FrameWindow
    private var generation: UInt64 = 0
    /// The table as it was read last.
    private let frames: UnsafeMutableBufferPointer<UInt64>

    init(_ hypervisor: Hypervisor, _ domain: Domain) throws(GuestError) {
        self.hypervisor = hypervisor
        self.domain = domain.id
        let guest = hypervisor.guest
        var width: UInt32 = 0
        try hypervisor.check("ask for its width", CXen_domain_width(hypervisor.raw, domain.id, &width))
        info = width == 8 ? .pv64 : .pv32
        guard width == 8 || width == 4, let page = ReservedPage(), let peephole = ReservedPage() else {
            throw GuestError(
                guest: guest,
                reason: "its words have \(width) bytes, or there is no address space"
            )
        }
        sharedInfoPage = page
        sharedInfo = UnsafeRawPointer(page.base)
        self.peephole = peephole
        var error: Int32 = 0
        var frame = domain.sharedInfoFrame
        var code = CXen_map(hypervisor.raw, domain.id, page.base, 1, &frame, &error)
        try hypervisor.check("map its shared info", code == 0 ? -error : code)
        let location = P2MLocation(sharedInfo, info)
        pageCount = location.pageCount
        guard pageCount > 0 else {
            throw GuestError(
                guest: guest,
                reason: "it has not said yet how many pages it has: it is still starting",
                isStarting: true
            )
        }
        var highest: UInt64 = 0
        try hypervisor.check("ask for the highest frame", CXen_highest_frame(hypervisor.raw, &highest))
        self.highest = highest
        var bytes = 0
        guard let machineTable = CXen_map_frame_table(hypervisor.raw, highest, &bytes, &code) else {
            throw XenFailure.error(guest, "map the machine's table of frames", code)
        }
        self.machineTable = machineTable
        machineTableBytes = bytes
        let perFrame = Int(info.entriesPerP2MFrame)
        table = try FrameWindow(
            hypervisor,
            domain: domain.id,
            pageCount: (pageCount + perFrame - 1) / perFrame
        )
        frames = .allocate(capacity: pageCount)
        frames.initialize(repeating: Self.none)
        try locate()
    }

    deinit {
        CXen_unmap_frame_table(machineTable, machineTableBytes)
        frames.deallocate()
    }

    // MARK: The tables

    /// The machine frame of a pfn, as of the last look; `none` if it has none.
    @inline(__always)
    func frame(_ pfn: Int) -> UInt64 { frames[pfn] }

    @inline(__always)
    func pfn(ofFrame frame: UInt64) -> UInt64? {
        guard frame <= highest else { return nil }
        let pfn = machineTable[Int(frame)]
        guard pfn < UInt64(pageCount), frames[Int(pfn)] == frame else { return nil }
        return pfn
    }

    /// Lets go of what is mapped of the guest but its shared info, which is Xen's own page.
    func dropMappings() { table.dropAll() }

    /// Lets go of all of it: the guest is gone.
    func dropAll() {
        table.dropAll()
        _ = CXen_unmap(sharedInfoPage.base, 1)
        _ = CXen_unmap(peephole.base, 1)
    }

    /// Finds the pages of the table, and reads it whole.
    private func locate() throws(GuestError) {
        let location = P2MLocation(sharedInfo, info)
        let found: [UInt64]
        do {
            guard location.generation & 1 == 0 || location.cr3 == 0 else {
                throw P2MProblem(description: "it is rebuilding its table of frames")
            }
            found = try P2MTable.frames(location, info, highest: highest, read: words)
        } catch {
            throw GuestError(guest: hypervisor.guest, reason: "\(error)")
        }
        generation = location.generation
        if found != tableFrames {
            table.dropAll()
            tableFrames = found
        }
    }

    private func words(of frame: UInt64) throws(GuestError) -> [UInt64] {
        var frame = frame
        var error: Int32 = 0
        let code = CXen_map(hypervisor.raw, domain, peephole.base, 1, &frame, &error)
        try hypervisor.check("map a page of its page tables", code == 0 ? -error : code)
        defer { _ = CXen_unmap(peephole.base, 1) }
        return Array(
            UnsafeRawBufferPointer(start: peephole.base, count: guestPageSize).bindMemory(to: UInt64.self)
        )
    }

    /// Compares one page of the guest's table with what was read last, and takes it over.
    /// - Parameter changed: called with each pfn that has another frame now.
    func look(atTablePage index: Int, _ changed: (Int) -> Void) throws(GuestError) {
        guard let page = try table.page(index, { tableFrames[$0] }) else {
            throw GuestError(
                guest: hypervisor.guest,
                reason: "part \(index) of its table of frames cannot be mapped"
            )
        }
        let perFrame = Int(info.entriesPerP2MFrame)
        let first = index * perFrame
        let count = min(perFrame, pageCount - first)
        for entry in 0..<count {
            var frame: UInt64
            if info.guestWidth == 8 {
                frame = page.load(fromByteOffset: entry * 8, as: UInt64.self)
            } else {
                frame = UInt64(page.load(fromByteOffset: entry * 4, as: UInt32.self))
            }
            // None, a foreign or identity mapping (marked in the top bits), or nonsense.
            if frame > highest { frame = Self.none }
            if frames[first + entry] != frame {
                frames[first + entry] = frame
                changed(first + entry)
            }
        }
    }

    var tablePageCount: Int { tableFrames.count }

    /// Whether the guest rebuilt its table since it was located, or has more pages than then.
    /// - Throws: if it reaches further than before.
    func tableMoved() throws(GuestError) -> Bool {
        let location = P2MLocation(sharedInfo, info)
        guard location.pageCount <= pageCount else {
            throw GuestError(
                guest: hypervisor.guest,
                reason:
                    "its memory reaches further than when protection began (\(location.pageCount) pages, then "
                    + "\(pageCount)): unprotect it and protect it again"
            )
        }
        return location.generation != generation
    }

    /// Locates the table anew.
    func relocate() throws(GuestError) { try locate() }

    /// The pfns that hold the table now, for P2M_FRAMES. The table was read before.
    func currentTablePages() throws(GuestError) -> [UInt64] {
        var result: [UInt64] = []
        for frame in tableFrames {
            guard let pfn = pfn(ofFrame: frame) else {
                throw GuestError(
                    guest: hypervisor.guest,
                    reason: "a page of its table of frames is not in that table"
                )
            }
            result.append(pfn)
        }
        return result
    }

    /// What is announced in a stream.
    func announceTablePages() throws(GuestError) -> [UInt64] {
        tablePages = try currentTablePages()
        return tablePages
    }
}
