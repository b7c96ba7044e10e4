import XenStream

/// Sums over a stream, or over the whole checkpoints of one.
struct StreamTally {
    var records: UInt64 = 0
    var bytes: UInt64 = 0
    var pageEntries: UInt64 = 0
    var pagesWithData: UInt64 = 0
    var zeroPages: UInt64 = 0
    var highestPFN: UInt64?
    /// Entries by type nibble.
    var types = [UInt64](repeating: 0, count: 16)

    mutating func add(_ entry: PageEntry, content: UnsafeRawBufferPointer?) {
        pageEntries += 1
        types[Int(entry.type.rawValue)] += 1
        highestPFN = max(highestPFN ?? 0, entry.pfn)
        guard let base = content?.baseAddress else { return }
        pagesWithData += 1
        if StreamTally.isZero(base) { zeroPages += 1 }
    }

    private static func isZero(_ base: UnsafeRawPointer) -> Bool {
        for offset in stride(from: 0, to: RecordFraming.pageSize, by: 64) {
            var any: UInt64 = 0
            for word in stride(from: offset, to: offset + 64, by: 8) { any |= base.u64(word) }
            if any != 0 { return false }
        }
        return true
    }

    /// The types that occur, with their counts.
    var typeCounts: [(name: String, count: UInt64)] {
        PageType.allCases.compactMap { type in
            let count = types[Int(type.rawValue)]
            return count == 0 ? nil : (type.name, count)
        }
    }
}
