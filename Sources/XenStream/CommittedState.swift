/// A part of a guest's last committed state that is a run of bytes.
package enum CommittedSection: Sendable, CaseIterable {
    /// The JSON configuration, without a NUL.
    case config
    /// Raw libxc records of the static data, with or without STATIC_DATA_END.
    case staticRecords
    /// The raw X86_PV_P2M_FRAMES record of a PV guest; empty for others.
    case p2mFrames
    /// Raw libxc records of the newest committed state, of one and the same checkpoint, in any order.
    case stateRecords
    /// Raw libxl emulator records of that checkpoint; empty without a device model.
    case emulatorRecords
}

/// The last committed state of a guest, as a standby holds it.
///
/// All of it must be of one checkpoint for as long as an image is made from it.
package protocol CommittedState {
    /// The domain header that came with the stream.
    var domainHeader: DomainHeader { get }

    /// Lends the bytes of a section for the duration of `body`.
    func withSection(
        _ section: CommittedSection,
        _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws

    /// Appends pages to `batch` in ascending order, from PFN `first` on, until the batch is full or there are no more.
    ///
    /// A page is appended with its newest type. Called once per batch, so that a lock need not be held for longer.
    /// - Returns: the PFN to go on from, nil when there are no more pages.
    func fill(_ batch: inout PageBatch, from first: UInt64) throws -> UInt64?
}

/// Up to 1024 pages on their way from a committed state into a PAGE_DATA record.
package struct PageBatch: ~Copyable {
    private let entries: UnsafeMutablePointer<UInt64>
    private let contents: UnsafeMutableRawPointer
    private let head: UnsafeMutableRawPointer
    private var count = 0
    private var withData = 0

    /// The most entries of a batch.
    package static let capacity = RecordFraming.customaryBatch

    init() {
        entries = .allocate(capacity: PageBatch.capacity)
        contents = .allocate(byteCount: PageBatch.capacity * RecordFraming.pageSize, alignment: 4096)
        head = .allocate(byteCount: PageBatch.headLength(PageBatch.capacity), alignment: 8)
    }

    deinit {
        entries.deallocate()
        contents.deallocate()
        head.deallocate()
    }

    /// Whether no further page fits.
    package var isFull: Bool { count == PageBatch.capacity }

    /// Copies a page in. Pages that are not there (XTAB) are left out of an image.
    ///
    /// - Parameter content: 4096 bytes, needed when the type carries data, else not looked at.
    package mutating func append(_ entry: PageEntry, content: UnsafeRawPointer?) {
        precondition(!isFull, "PageBatch: append after isFull")
        guard entry.type != .absent else { return }
        if entry.type.carriesData {
            guard let content else {
                preconditionFailure(
                    "PageBatch: PFN \(entry.pfn) of type \(entry.type.name) needs its content"
                )
            }
            (contents + withData * RecordFraming.pageSize).copyMemory(
                from: content,
                byteCount: RecordFraming.pageSize
            )
            withData += 1
        }
        entries[count] = entry.encoded
        count += 1
    }

    private static func headLength(_ entries: Int) -> Int {
        StreamWriter.pageDataLength(entries: entries, withData: 0)
    }

    /// Hands the batch out as one record, and empties it.
    mutating func flush(to sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        guard count > 0 else { return }
        let length = PageBatch.headLength(count)
        let contentLength = withData * RecordFraming.pageSize
        var writer = StreamWriter(UnsafeMutableRawBufferPointer(start: head, count: length))
        writer.beginRecord(
            type: LibxcRecordType.pageData.rawValue,
            length: length - RecordFraming.headerSize + contentLength
        )
        writer.advance(8).storeBytes(of: UInt64(count).littleEndian, as: UInt64.self)
        writer.appendRaw(UnsafeRawBufferPointer(start: entries, count: 8 * count))
        try sink(writer.written)
        if contentLength > 0 {
            try sink(UnsafeRawBufferPointer(start: contents, count: contentLength))
        }
        count = 0
        withData = 0
    }
}
