import Checkpoint
import Glibc
import SystemSupport

/// How the pages that a guest writes are found.
package enum DirtyTracking: String, Sendable, CaseIterable {
    /// The kernel notes them: userfaultfd and PAGEMAP_SCAN.
    case pagemap
    /// By comparison with a copy of the guest's RAM.
    case compare

    /// What REMUSD_DIRTY_TRACKING asks for: nil for `auto` or nothing.
    /// - Throws: for a word that is none of `auto`, `pagemap`, `compare`.
    package static func choice(guest: String) throws(GuestError) -> DirtyTracking? {
        guard let text = getenv("REMUSD_DIRTY_TRACKING").map({ String(cString: $0) }), text != "auto",
            !text.isEmpty
        else { return nil }
        guard let choice = DirtyTracking(rawValue: text) else {
            throw GuestError(
                guest: guest,
                reason: "REMUSD_DIRTY_TRACKING=\(text): set auto, pagemap or compare"
            )
        }
        return choice
    }
}

/// Finds the pages that a guest writes. Called from one thread.
protocol DirtyTracker: AnyObject {
    var method: DirtyTracking { get }
    /// Starts (again) from nothing dirty.
    func start() throws(GuestError)
    func stop()
    /// Adds the pages written since the last call. Allocates nothing.
    func collect(into bitmap: inout PageBitmap) throws(GuestError)
    /// The page was copied as `contents` while the guest ran.
    func copied(_ pfn: Int, _ contents: UnsafeRawPointer)
}

/// Lets the kernel note writes to the guest's mapping: the guest registers its RAM with userfaultfd, this side reads
/// the notes through /proc/PID/pagemap. Sees only what is written through that mapping, which is all that writes.
final class PagemapTracker: DirtyTracker {
    let method = DirtyTracking.pagemap
    private let link: GuestLink
    private let scan: PagemapScan
    private let range: Range<UInt64>
    private let name: String

    init(_ link: GuestLink) throws(GuestError) {
        self.link = link
        name = link.description.name
        let base = link.description.memoryAddress
        range = base..<base + link.description.pageCount * UInt64(guestPageSize)
        do { scan = try PagemapScan(pid: link.description.pid) } catch {
            throw GuestError(guest: name, reason: "\(error)")
        }
    }

    func start() throws(GuestError) {
        try link.demand(.startTracking)
        // The first scan finds every page and protects it; from here on only what is written is found.
        do { try scan.takeWritten(in: range) { _ in } } catch {
            throw GuestError(guest: name, reason: "\(error)")
        }
    }

    func stop() { _ = link.ask(.stopTracking, deadline: Clock.monotonic + GuestLink.answerLimit) }

    func collect(into bitmap: inout PageBitmap) throws(GuestError) {
        let base = range.lowerBound
        do {
            try scan.takeWritten(in: range) { written in
                bitmap.insert(Int((written.lowerBound - base) >> 12)..<Int((written.upperBound - base) >> 12))
            }
        } catch { throw GuestError(guest: name, reason: "\(error)") }
    }

    func copied(_ pfn: Int, _ contents: UnsafeRawPointer) {}
}

/// Finds writes by comparing RAM with a copy of it, page by page; holes are skipped on both sides.
final class CompareTracker: DirtyTracker {
    let method = DirtyTracking.compare
    private let name: String
    private let memory: Mapping
    private let file: Descriptor
    private let shadow: Mapping

    init(name: String, memory: Mapping, file: Descriptor) throws(GuestError) {
        self.name = name
        self.memory = memory
        self.file = file
        do { shadow = try Mapping.anonymous(count: memory.count) } catch {
            throw GuestError(guest: name, reason: "\(error)")
        }
    }

    func start() throws(GuestError) {
        shadow.discardContents()
        try forEachChange { _ in }
    }

    func stop() { shadow.discardContents() }

    func collect(into bitmap: inout PageBitmap) throws(GuestError) {
        try forEachChange { bitmap.insert($0) }
    }

    /// What the other side was given is what the next comparison must start from: the guest may have changed the page
    /// between the comparison and the copy, and may change it back.
    func copied(_ pfn: Int, _ contents: UnsafeRawPointer) {
        memcpy(shadow.base + pfn * guestPageSize, contents, guestPageSize)
    }

    private func forEachChange(_ body: (Int) -> Void) throws(GuestError) {
        do {
            try SparseFile.forEachDataRange(of: file, size: memory.count) { range in
                for pfn in range.lowerBound / guestPageSize..<(range.upperBound + guestPageSize - 1)
                    / guestPageSize
                {
                    let offset = pfn * guestPageSize
                    guard memcmp(shadow.base + offset, memory.base + offset, guestPageSize) != 0 else {
                        continue
                    }
                    memcpy(shadow.base + offset, memory.base + offset, guestPageSize)
                    body(pfn)
                }
            }
        } catch { throw GuestError(guest: name, reason: "\(error)") }
    }
}
