/// Layouts inside a PV guest's records, and how frame numbers are written there (libxc stream spec, "X86_PV").
///
/// Inside a stream every frame number is the guest's own (PFN): the sender replaces machine frames, the receiver puts
/// its own machine frames back.
package enum PVLayout {
    /// Where things are in the blob of X86_PV_VCPU_BASIC.
    package struct VcpuContext: Equatable, Sendable {
        /// Bytes of the whole.
        package let size: Int
        /// Flags word; the receiver sets `onlineFlag`.
        package let flags: Int
        /// edx of vcpu 0: the third argument of the suspend hypercall, the PFN of start_info.
        package let edx: Int
        /// Sixteen frame numbers of the GDT.
        package let gdtFrames: Int
        /// How many descriptors the GDT has.
        package let gdtEntries: Int
        /// Control register 1, which for a 64-bit guest holds its user page table; nil for 32 bit.
        package let cr1: Int?
        /// Control register 3: the kernel's page table.
        package let cr3: Int
        /// Bytes of a word.
        package let word: Int

        /// The layout of a 64-bit guest.
        package static let pv64 = VcpuContext(
            size: 5168,
            flags: 512,
            edx: 616,
            gdtFrames: 4832,
            gdtEntries: 4960,
            cr1: 4992,
            cr3: 5008,
            word: 8
        )
        /// The layout of a 32-bit guest.
        package static let pv32 = VcpuContext(
            size: 2800,
            flags: 512,
            edx: 524,
            gdtFrames: 2640,
            gdtEntries: 2704,
            cr1: nil,
            cr3: 2728,
            word: 4
        )
        /// The vcpu is to run.
        package static let onlineFlag: UInt32 = 0x20
        /// The most descriptors a GDT may have.
        package static let maximumGDTEntries: UInt64 = 7168
        /// Descriptors in one frame.
        package static let descriptorsPerFrame: UInt64 = 512

        /// The layout for a guest's width.
        package static func of(_ info: PVInfo) -> VcpuContext { info.guestWidth == 8 ? .pv64 : .pv32 }

        /// The guest word at `offset` of a blob.
        package func load(_ blob: UnsafeRawPointer, _ offset: Int) -> UInt64 {
            word == 8 ? blob.u64(offset) : UInt64(blob.u32(offset))
        }

        /// The PFN in cr3.
        package func cr3Frame(_ blob: UnsafeRawPointer) -> UInt64 {
            PVLayout.frame(cr3: load(blob, cr3), word: word)
        }

        /// The PFN of a 64-bit guest's user page table, nil if it has none.
        package func userTableFrame(_ blob: UnsafeRawPointer) -> UInt64? {
            guard let cr1 else { return nil }
            let value = load(blob, cr1)
            return value & 1 == 0 ? nil : PVLayout.frame(cr3: value & ~1, word: word)
        }
    }

    /// Where things are in a PV guest's start_info page.
    package struct StartInfo: Equatable, Sendable {
        /// Offsets of the fields that a receiver rewrites.
        package let nrPages, sharedInfo, flags, storeFrame, storeEvtchn, consoleFrame, consoleEvtchn: Int

        /// The layout of a 64-bit guest.
        package static let pv64 = StartInfo(
            nrPages: 32,
            sharedInfo: 40,
            flags: 48,
            storeFrame: 56,
            storeEvtchn: 64,
            consoleFrame: 72,
            consoleEvtchn: 80
        )
        /// The layout of a 32-bit guest.
        package static let pv32 = StartInfo(
            nrPages: 32,
            sharedInfo: 36,
            flags: 40,
            storeFrame: 44,
            storeEvtchn: 48,
            consoleFrame: 52,
            consoleEvtchn: 56
        )
    }

    /// Where things are in a PV guest's shared info page.
    package struct SharedInfo: Equatable, Sendable {
        /// 32 blocks of 64 bytes, one per vcpu.
        package static let vcpuInfo = 0
        /// Offset of the pending selector within a vcpu's block.
        package let pendingSelector: Int
        /// Bit masks of pending and masked event channels, and their size in bytes.
        package let evtchnPending, evtchnMask, evtchnBytes: Int
        /// The architecture's part: highest PFN, and where the guest keeps its p2m.
        package let maxPFN, p2mFrameListList, p2mCR3, p2mAddress, p2mGeneration: Int

        /// The layout of a 64-bit guest.
        package static let pv64 = SharedInfo(
            pendingSelector: 8,
            evtchnPending: 2048,
            evtchnMask: 2560,
            evtchnBytes: 512,
            maxPFN: 3088,
            p2mFrameListList: 3096,
            p2mCR3: 3112,
            p2mAddress: 3120,
            p2mGeneration: 3128
        )
        /// The layout of a 32-bit guest.
        package static let pv32 = SharedInfo(
            pendingSelector: 4,
            evtchnPending: 2048,
            evtchnMask: 2176,
            evtchnBytes: 128,
            maxPFN: 2316,
            p2mFrameListList: 2320,
            p2mCR3: 2328,
            p2mAddress: 2332,
            p2mGeneration: 2336
        )
    }

    /// cr3 as it is written for a page table at `frame`: shifted for a 64-bit guest, folded into 32 bits for a 32-bit one.
    package static func cr3(frame: UInt64, word: Int) -> UInt64 {
        word == 8 ? frame << 12 : (frame << 12 | frame >> 20) & 0xFFFF_FFFF
    }

    /// The frame in a cr3 value; the inverse of `cr3(frame:word:)`.
    package static func frame(cr3: UInt64, word: Int) -> UInt64 {
        word == 8 ? cr3 >> 12 : (cr3 >> 12 | cr3 << 20) & 0xFFFF_FFFF
    }
}

/// An entry of a page table, as it stands in the content of a page-table page: 512 of them, 8 bytes each.
package struct PageTableEntry: Equatable, Sendable {
    /// Entries of one table.
    package static let perTable = 512
    /// The entry maps something.
    package static let presentBit: UInt64 = 1 << 0
    /// In levels above 1: it maps a superpage, which cannot be migrated.
    package static let superpageBit: UInt64 = 1 << 7
    /// The bits that hold the frame.
    package static let frameMask: UInt64 = 0x000F_FFFF_FFFF_F000

    /// The entry.
    package var bits: UInt64

    /// An entry from its bits.
    package init(_ bits: UInt64) { self.bits = bits }

    /// Whether it maps something; what does not passes through untouched.
    package var isPresent: Bool { bits & PageTableEntry.presentBit != 0 }

    /// Whether it maps a superpage, in a table of `level`.
    package func isSuperpage(level: Int) -> Bool {
        level > 1 && isPresent && bits & PageTableEntry.superpageBit != 0
    }

    /// The frame it maps: a PFN on the wire, a machine frame in the guest.
    package var frame: UInt64 {
        get { (bits & PageTableEntry.frameMask) >> 12 }
        set { bits = bits & ~PageTableEntry.frameMask | newValue << 12 & PageTableEntry.frameMask }
    }

    /// Whether slot `index` of a table of `level` belongs to Xen itself and is sent as zero.
    ///
    /// - Parameter mapsCompatM2P: for an L2 of a 32-bit guest, whether its slot 428 maps Xen's compatibility table.
    package static func isXenOwned(level: Int, index: Int, info: PVInfo, mapsCompatM2P: Bool = false) -> Bool
    {
        if info.pagingLevels == 4 { return level == 4 && (256...271).contains(index) }
        if level == 3 { return index >= 4 }
        return level == 2 && index >= compatM2PSlot && mapsCompatM2P
    }

    /// The first L2 slot of Xen's compatibility table in a 32-bit guest.
    package static let compatM2PSlot = 428
}
