/// Body of X86_PV_INFO: the shape of a PV guest (libxc stream spec, "X86_PV_INFO").
package struct PVInfo: Equatable, Sendable {
    /// Bytes of the body: width, levels, six reserved bytes.
    package static let size = 8
    /// A 64-bit PV guest: words of 8 bytes, 4 paging levels.
    package static let pv64 = PVInfo(guestWidth: 8, pagingLevels: 4)
    /// A 32-bit PV guest: words of 4 bytes, 3 paging levels.
    package static let pv32 = PVInfo(guestWidth: 4, pagingLevels: 3)

    /// Bytes of a guest word, 4 or 8.
    package var guestWidth: UInt8
    /// Paging levels, 3 or 4.
    package var pagingLevels: UInt8

    /// A shape; see `isLegal`.
    package init(guestWidth: UInt8, pagingLevels: UInt8) {
        self.guestWidth = guestWidth
        self.pagingLevels = pagingLevels
    }

    /// Only two pairs exist.
    package var isLegal: Bool { self == .pv64 || self == .pv32 }

    /// How many p2m entries one frame holds.
    package var entriesPerP2MFrame: UInt64 { 4096 / UInt64(guestWidth) }
}

/// Head of X86_PV_P2M_FRAMES: which PFNs the listed frames of the p2m cover (libxc stream spec, "X86_PV_P2M_FRAMES").
package struct P2MFramesHeader: Equatable, Sendable {
    /// Bytes before the list of 8-byte frame numbers.
    package static let size = 8

    /// The first PFN covered; Xen's sender writes 0.
    package var startPFN: UInt32
    /// The last PFN covered: the guest's highest.
    package var endPFN: UInt32

    /// A range of PFNs, both ends included.
    package init(startPFN: UInt32 = 0, endPFN: UInt32) {
        self.startPFN = startPFN
        self.endPFN = endPFN
    }

    /// How many frames are listed for a guest of this shape; requires `startPFN <= endPFN`.
    package func frameCount(_ info: PVInfo) -> UInt64 {
        let perFrame = info.entriesPerP2MFrame
        return UInt64(endPFN) / perFrame + 1 - UInt64(startPFN) / perFrame
    }
}

/// One entry of X86_CPUID_POLICY (libxc stream spec, "X86_CPUID_POLICY").
package struct CPUIDPolicyEntry: Equatable, Sendable {
    /// Bytes of an entry.
    package static let size = 24
    /// The subleaf of a leaf that has none.
    package static let noSubleaf: UInt32 = .max

    /// Leaf, subleaf and the four result registers, in the order of the wire.
    package var leaf, subleaf, eax, ebx, ecx, edx: UInt32

    /// An entry from its parts.
    package init(leaf: UInt32, subleaf: UInt32, eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32) {
        self.leaf = leaf
        self.subleaf = subleaf
        self.eax = eax
        self.ebx = ebx
        self.ecx = ecx
        self.edx = edx
    }

    /// Decodes the entry at `base`.
    package init(at base: UnsafeRawPointer) {
        self.init(
            leaf: base.u32(0),
            subleaf: base.u32(4),
            eax: base.u32(8),
            ebx: base.u32(12),
            ecx: base.u32(16),
            edx: base.u32(20)
        )
    }
}

/// One entry of X86_MSR_POLICY: u32 index, u32 flags (0), u64 value (libxc stream spec, "X86_MSR_POLICY").
package struct MSRPolicyEntry: Equatable, Sendable {
    /// Bytes of an entry.
    package static let size = 16

    /// The register's number.
    package var index: UInt32
    /// Written as 0.
    package var flags: UInt32
    /// Its value.
    package var value: UInt64

    /// An entry from its parts.
    package init(index: UInt32, flags: UInt32 = 0, value: UInt64) {
        self.index = index
        self.flags = flags
        self.value = value
    }

    /// Decodes the entry at `base`.
    package init(at base: UnsafeRawPointer) {
        self.init(index: base.u32(0), flags: base.u32(4), value: base.u64(8))
    }
}
