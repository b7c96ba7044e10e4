/// The newest type of every page of a PV guest, half a byte each, in chunks that are made when first touched.
///
/// Xen's receiver refuses frames of the wrong type only when it builds the guest; this lets a reader refuse them at the
/// checkpoint that names them.
struct PageTypeTable: ~Copyable {
    /// What is known of a page.
    enum Knowledge: Equatable {
        /// Beyond the table's budget, or from before this reader's time.
        case unknown
        /// Never part of the stream.
        case unseen
        /// Its newest type.
        case seen(PageType)
    }

    private static let pagesPerChunk: UInt64 = 8192
    private static let chunkBytes = 4096
    /// A reserved type's value stands for "never seen".
    private static let unseenPair: UInt8 = 0x55

    private var chunks: [UnsafeMutablePointer<UInt8>?] = []
    /// Pages that have a place in the table.
    private(set) var capacity: UInt64 = 0
    /// True when the reader was not there from the start, so that "never seen" means nothing.
    var isPartial = false

    deinit {
        for chunk in chunks { chunk?.deallocate() }
    }

    /// Makes room for PFNs up to `highest`, within a budget of bytes.
    mutating func prepare(highest: UInt64, budget: Int) {
        capacity = min(highest + 1, UInt64(budget) * 2)
        let count = Int((capacity + PageTypeTable.pagesPerChunk - 1) / PageTypeTable.pagesPerChunk)
        if count > chunks.count {
            chunks.append(contentsOf: repeatElement(nil, count: count - chunks.count))
        }
    }

    @inline(__always)
    mutating func record(_ entry: PageEntry) {
        guard entry.pfn < capacity else { return }
        let index = Int(entry.pfn / PageTypeTable.pagesPerChunk)
        let chunk: UnsafeMutablePointer<UInt8>
        if let known = chunks[index] {
            chunk = known
        } else {
            chunk = .allocate(capacity: PageTypeTable.chunkBytes)
            chunk.initialize(repeating: PageTypeTable.unseenPair, count: PageTypeTable.chunkBytes)
            chunks[index] = chunk
        }
        let place = Int(entry.pfn % PageTypeTable.pagesPerChunk)
        let old = chunk[place / 2]
        chunk[place / 2] =
            place & 1 == 0
            ? old & 0xF0 | entry.type.rawValue
            : old & 0x0F | entry.type.rawValue << 4
    }

    func look(_ pfn: UInt64) -> Knowledge {
        guard pfn < capacity else { return .unknown }
        let place = Int(pfn % PageTypeTable.pagesPerChunk)
        guard let chunk = chunks[Int(pfn / PageTypeTable.pagesPerChunk)] else {
            return isPartial ? .unknown : .unseen
        }
        let pair = chunk[place / 2]
        guard let type = PageType(rawValue: place & 1 == 0 ? pair & 0xF : pair >> 4) else {
            return isPartial ? .unknown : .unseen
        }
        return .seen(type)
    }
}
