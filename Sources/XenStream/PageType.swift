/// What a PFN is, as PAGE_DATA tells it: the top four bits of an entry (libxc stream spec, "PAGE_DATA").
///
/// Values 0x5 to 0x8 are reserved and have no case; a stream that uses them is refused.
package enum PageType: UInt8, Sendable, CaseIterable {
    /// An ordinary page.
    case normal = 0x0
    /// A page table of level 1, not pinned.
    case l1 = 0x1
    /// A page table of level 2, not pinned.
    case l2 = 0x2
    /// A page table of level 3, not pinned.
    case l3 = 0x3
    /// A page table of level 4, not pinned.
    case l4 = 0x4
    /// A pinned page table of level 1.
    case l1Pinned = 0x9
    /// A pinned page table of level 2.
    case l2Pinned = 0xA
    /// A pinned page table of level 3.
    case l3Pinned = 0xB
    /// A pinned page table of level 4.
    case l4Pinned = 0xC
    /// Hardware found the page bad: no RAM, no content.
    case broken = 0xD
    /// RAM is to be allocated, its content is not sent (only tools of the 4.2 to 4.5 era made it).
    case allocateOnly = 0xE
    /// No page here ("XTAB").
    case absent = 0xF

    /// Whether 4096 bytes of content follow in the record.
    @inline(__always)
    package var carriesData: Bool { rawValue < 0xD }

    /// Whether the receiver gives the PFN RAM.
    @inline(__always)
    package var populates: Bool { rawValue != 0xD && rawValue != 0xF }

    /// The page table's level, 1 to 4, pinned or not; nil for what is no page table.
    package var tableLevel: Int? {
        let level = Int(rawValue & 7)
        return carriesData && level != 0 ? level : nil
    }

    /// Whether this is a pinned page table.
    package var isPinned: Bool { rawValue >= 0x9 && rawValue <= 0xC }

    /// The name that the format's documents use.
    package var name: String {
        switch self {
        case .normal: "NOTAB"
        case .l1: "L1TAB"
        case .l2: "L2TAB"
        case .l3: "L3TAB"
        case .l4: "L4TAB"
        case .l1Pinned: "L1TAB|PIN"
        case .l2Pinned: "L2TAB|PIN"
        case .l3Pinned: "L3TAB|PIN"
        case .l4Pinned: "L4TAB|PIN"
        case .broken: "BROKEN"
        case .allocateOnly: "XALLOC"
        case .absent: "XTAB"
        }
    }
}

/// One entry of a PAGE_DATA record's list: bits 63 to 60 the type, 59 to 52 reserved, 51 to 0 the PFN
/// (libxc stream spec, "PAGE_DATA").
package struct PageEntry: Equatable, Sendable {
    /// The highest PFN an entry can name.
    package static let maximumPFN: UInt64 = (1 << 52) - 1
    /// The bits that a sender writes as zero.
    package static let reservedBits: UInt64 = 0xFF << 52

    /// The guest's frame number.
    package var pfn: UInt64
    /// What the frame is.
    package var type: PageType

    /// An entry for `pfn`, which must be below 2^52.
    @inline(__always)
    package init(pfn: UInt64, type: PageType = .normal) {
        self.pfn = pfn
        self.type = type
    }

    /// Decodes an entry; nil if the type is a reserved one. Reserved bits are masked off.
    @inline(__always)
    package init?(encoded: UInt64) {
        guard let type = PageType(rawValue: UInt8(truncatingIfNeeded: encoded >> 60)) else { return nil }
        self.init(pfn: encoded & PageEntry.maximumPFN, type: type)
    }

    /// The entry as it stands in the record (before byte order).
    @inline(__always)
    package var encoded: UInt64 { UInt64(type.rawValue) << 60 | pfn & PageEntry.maximumPFN }
}
