import XenStream

/// Which pfn a machine frame is to the guest, and back.
package protocol FrameTranslation {
    /// The pfn, nil if the frame is not the guest's (a grant, another domain's, Xen's own).
    func pfn(ofFrame frame: UInt64) -> UInt64?
}

/// Rewrites page tables for the stream: machine frames become pfns, Xen's own entries go (stream-v2.md, section 8).
package struct PageTableNormalizer {
    /// What came of a table.
    package enum Outcome: Equatable {
        case done
        /// An entry maps a frame that is not the guest's: while the guest runs, that may be an update half done.
        case unresolved(frame: UInt64)
        /// An entry maps a superpage, which cannot travel.
        case superpage
    }

    package let info: PVInfo
    /// Where Xen's table for 32-bit guests begins; nil for a 64-bit guest.
    package let compatTable: UInt64?

    /// A normalizer for guests of one shape.
    package init(info: PVInfo, compatTable: UInt64?) {
        self.info = info
        self.compatTable = compatTable
    }

    /// Copies the table at `source` to `target`, 4096 bytes each, rewritten.
    @inline(__always)
    package func normalize(
        _ source: UnsafeRawPointer,
        level: Int,
        into target: UnsafeMutableRawPointer,
        _ translation: some FrameTranslation
    ) -> Outcome {
        let mapsCompat = level == 2 && mapsCompatTable(source)
        for index in 0..<PageTableEntry.perTable {
            var entry = PageTableEntry(source.load(fromByteOffset: index * 8, as: UInt64.self))
            if PageTableEntry.isXenOwned(level: level, index: index, info: info, mapsCompatM2P: mapsCompat) {
                entry.bits = 0
            } else if entry.isPresent {
                if entry.isSuperpage(level: level) { return .superpage }
                guard let pfn = translation.pfn(ofFrame: entry.frame) else {
                    return .unresolved(frame: entry.frame)
                }
                entry.frame = pfn
            }
            target.storeBytes(of: entry.bits, toByteOffset: index * 8, as: UInt64.self)
        }
        return .done
    }

    private func mapsCompatTable(_ table: UnsafeRawPointer) -> Bool {
        guard let compatTable else { return false }
        let bits = table.load(fromByteOffset: PageTableEntry.compatM2PSlot * 8, as: UInt64.self)
        let entry = PageTableEntry(bits)
        return entry.isPresent && entry.frame == compatTable
    }
}
