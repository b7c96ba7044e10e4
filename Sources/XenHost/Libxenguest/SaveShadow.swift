import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// What a saving child has sent so far: the newest content and type of every page, the static records, and the state of the
/// newest checkpoint. Costs as much memory as the guest has.
///
/// Allocates nothing after `init` but for the words of an error. Not safe for several threads: `SaveSession` guards it.
final class SaveShadow: StreamHandler {
    private static let unseen: UInt8 = 0xFF

    private let kind: GuestKind
    private let pageCount: Int
    private let memory: Mapping
    private let types: UnsafeMutableBufferPointer<UInt8>
    private let records: UnsafeMutableRawBufferPointer
    private var received: PageBitmap
    private var staticRecords: StreamWriter
    private var stateRecords: StreamWriter
    private var staticIsWhole = false
    /// Page tables, by what was last sent of each page.
    private var tables: PageBitmap

    /// Between a suspend and its CHECKPOINT: everything that comes belongs to one moment.
    private(set) var isInPause = false
    /// Pages with content that came since the guest was suspended.
    private(set) var pagesInPause = 0
    /// The state and all pages of the newest suspension are here.
    private(set) var isWhole = false
    /// A first checkpoint was whole.
    private(set) var hasCheckpoint = false
    /// What is wrong with what came, nil while nothing is.
    private(set) var problem: String?

    /// - Parameter stateCapacity: most bytes of static records, and of state records.
    init(kind: GuestKind, pageCount: Int, stateCapacity: Int) throws(SystemError) {
        self.kind = kind
        self.pageCount = pageCount
        let size = pageCount * guestPageSize
        memory = try Mapping.shared(try Memfd.create(name: "remusd-shadow", size: size), count: size)
        types = .allocate(capacity: pageCount)
        types.initialize(repeating: Self.unseen)
        received = PageBitmap(pageCount: pageCount)
        tables = PageBitmap(pageCount: pageCount)
        records = .allocate(byteCount: 2 * stateCapacity, alignment: 8)
        staticRecords = StreamWriter(UnsafeMutableRawBufferPointer(rebasing: records[..<stateCapacity]))
        stateRecords = StreamWriter(UnsafeMutableRawBufferPointer(rebasing: records[stateCapacity...]))
    }

    deinit {
        types.deallocate()
        records.deallocate()
    }

    // MARK: For the checkpoint loop

    /// Everything before the first page is here.
    var hasStatic: Bool { staticIsWhole }
    var staticBytes: UnsafeRawBufferPointer { staticRecords.written }
    var stateBytes: UnsafeRawBufferPointer { stateRecords.written }

    /// The guest was suspended for the next checkpoint.
    func beginPause() {
        isInPause = true
        isWhole = false
        pagesInPause = 0
        stateRecords.reset()
    }

    /// Adds what came since the last call.
    func collect(into bitmap: inout PageBitmap) {
        bitmap.formUnion(received)
        received.removeAll()
    }

    /// Whether each of these has come at least once.
    func hasSeen(_ pfns: UnsafeBufferPointer<UInt64>) -> Bool {
        pfns.allSatisfy { $0 < UInt64(pageCount) && types[Int($0)] != Self.unseen }
    }

    /// Copies pages out (`ProtectedGuest.copyPages`); what is copied counts as collected.
    func copy(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types output: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) -> Int {
        var count = 0
        for (index, pfn) in pfns.enumerated() {
            let type = PageType(rawValue: types[Int(pfn)]) ?? .absent
            output[index] = type
            received.remove(Int(pfn))
            guard type.carriesData else { continue }
            PageCopier.copy(
                memory.base + Int(pfn) * guestPageSize,
                to: contents + count * guestPageSize
            )
            count += 1
        }
        return count
    }

    // MARK: From the stream

    func domainHeader(_ header: DomainHeader) {
        if header.kind != kind { fail("libxenguest saves a guest of another kind") }
    }

    func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
        guard entry.pfn < UInt64(pageCount) else {
            return fail("the guest has grown to page \(entry.pfn) since protection began with \(pageCount)")
        }
        let pfn = Int(entry.pfn)
        // A page table that could not be sent although the guest stood still comes without content, and never again
        // (stream-v2.md, 16.2).
        if isInPause, entry.type == .absent, tables.contains(pfn) {
            return fail("libxenguest could not make page table \(pfn) portable")
        }
        if entry.type.tableLevel != nil {
            tables.insert(pfn)
        } else if entry.type.carriesData {
            tables.remove(pfn)
        }
        let wasHole = types[pfn] == PageType.absent.rawValue || types[pfn] == Self.unseen
        types[pfn] = entry.type.rawValue
        // A hole that stays one is no news: a PVH guest has gigabytes of them below its special pages.
        if entry.type == .absent, wasHole { return }
        if let source = content?.baseAddress {
            PageCopier.copy(source, to: memory.base + pfn * guestPageSize)
            if isInPause { pagesInPause += 1 }
        }
        received.insert(pfn)
    }

    func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {
        switch record.libxcType {
        case .x86PVInfo, .x86CPUIDPolicy, .x86MSRPolicy, .staticDataEnd, .x86PVP2MFrames:
            keep(record, body, &staticRecords)
            if record.libxcType == (kind == .pv ? .x86PVP2MFrames : .staticDataEnd) { staticIsWhole = true }
        case .checkpoint, .end, .pageData, .verify, nil: break
        default:
            guard isInPause else { return fail("\(record.name) came while the guest ran") }
            keep(record, body, &stateRecords)
        }
    }

    private func keep(_ record: RecordInfo, _ body: UnsafeRawBufferPointer, _ writer: inout StreamWriter) {
        guard StreamWriter.recordLength(body: body.count) <= writer.room else {
            return fail("\(record.name) of \(body.count) bytes is longer than expected")
        }
        writer.beginRecord(type: record.type, length: body.count)
        writer.appendRaw(body)
        writer.appendPadding(afterBody: body.count)
    }

    func checkpoint(epoch: UInt64) {
        guard isInPause else { return fail("a checkpoint came without a suspend") }
        isInPause = false
        // A guest that suspends always writes: somebody else switched log-dirty off, and Xen says nothing of it.
        if pagesInPause == 0 {
            return fail("no page was dirty after a suspend: something else ended log-dirty")
        }
        isWhole = true
        hasCheckpoint = true
    }

    private func fail(_ reason: String) { problem = problem ?? reason }
}
