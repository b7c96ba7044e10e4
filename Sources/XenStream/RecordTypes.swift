/// The layers of a saved or migrated guest; both record layers number their types anew.
package enum StreamLayer: String, Sendable {
    /// The header and configuration that `xl save` puts in front.
    case xl
    /// The toolstack's records around the memory image (libxl stream spec).
    case libxl
    /// The memory image itself (libxc stream spec).
    case libxc
}

/// The record types of the libxc layer (libxc stream spec, "Records").
package enum LibxcRecordType: UInt32, Sendable, CaseIterable {
    /// The last record of a plain stream.
    case end = 0x00
    /// A list of PFNs with types, and the content of those that carry any.
    case pageData = 0x01
    /// Width and paging levels of a PV guest; static data.
    case x86PVInfo = 0x02
    /// The frames that hold a PV guest's p2m.
    case x86PVP2MFrames = 0x03
    /// Registers of a PV vcpu.
    case x86PVVcpuBasic = 0x04
    /// System call entry points and the like of a PV vcpu.
    case x86PVVcpuExtended = 0x05
    /// FPU and vector state of a PV vcpu.
    case x86PVVcpuXsave = 0x06
    /// A PV guest's shared info page.
    case sharedInfo = 0x07
    /// Time stamp counter mode and value.
    case x86TSCInfo = 0x08
    /// Registers and virtual chips of an HVM or PVH guest.
    case hvmContext = 0x09
    /// Parameters of an HVM or PVH guest, such as the PFNs of its special pages.
    case hvmParams = 0x0A
    /// Abandoned; no reader knows it any more.
    case toolstack = 0x0B
    /// Model specific registers of a PV vcpu.
    case x86PVVcpuMSRs = 0x0C
    /// From here on pages are compared, not stored; a debugging aid of plain streams.
    case verify = 0x0D
    /// All that precedes is one consistent view.
    case checkpoint = 0x0E
    /// COLO's back channel; never seen in the forward direction.
    case checkpointDirtyPFNList = 0x0F
    /// The static data is complete (version 3).
    case staticDataEnd = 0x10
    /// CPUID leaves the guest was promised; static data.
    case x86CPUIDPolicy = 0x11
    /// MSR values the guest was promised; static data.
    case x86MSRPolicy = 0x12

    /// Bit 31 of a type: a reader that does not know the type may ignore the record.
    package static let optionalBit: UInt32 = 1 << 31

    /// The record's name in the format's documents.
    package var name: String {
        switch self {
        case .end: "END"
        case .pageData: "PAGE_DATA"
        case .x86PVInfo: "X86_PV_INFO"
        case .x86PVP2MFrames: "X86_PV_P2M_FRAMES"
        case .x86PVVcpuBasic: "X86_PV_VCPU_BASIC"
        case .x86PVVcpuExtended: "X86_PV_VCPU_EXTENDED"
        case .x86PVVcpuXsave: "X86_PV_VCPU_XSAVE"
        case .sharedInfo: "SHARED_INFO"
        case .x86TSCInfo: "X86_TSC_INFO"
        case .hvmContext: "HVM_CONTEXT"
        case .hvmParams: "HVM_PARAMS"
        case .toolstack: "TOOLSTACK"
        case .x86PVVcpuMSRs: "X86_PV_VCPU_MSRS"
        case .verify: "VERIFY"
        case .checkpoint: "CHECKPOINT"
        case .checkpointDirtyPFNList: "CHECKPOINT_DIRTY_PFN_LIST"
        case .staticDataEnd: "STATIC_DATA_END"
        case .x86CPUIDPolicy: "X86_CPUID_POLICY"
        case .x86MSRPolicy: "X86_MSR_POLICY"
        }
    }
}

/// The record types of the libxl layer (libxl stream spec, "Records").
package enum LibxlRecordType: UInt32, Sendable, CaseIterable {
    /// The stream is whole.
    case end = 0
    /// The libxc stream follows on the next byte.
    case libxcContext = 1
    /// Xenstore keys of the device model.
    case emulatorXenstoreData = 2
    /// The device model's own state.
    case emulatorContext = 3
    /// The checkpoint is whole: the commit point.
    case checkpointEnd = 4
    /// COLO's dialogue; never part of Remus.
    case checkpointState = 5

    /// The record's name in the format's documents.
    package var name: String {
        switch self {
        case .end: "END"
        case .libxcContext: "LIBXC_CONTEXT"
        case .emulatorXenstoreData: "EMULATOR_XENSTORE_DATA"
        case .emulatorContext: "EMULATOR_CONTEXT"
        case .checkpointEnd: "CHECKPOINT_END"
        case .checkpointState: "CHECKPOINT_STATE"
        }
    }
}

/// Where and what a record is, known from its header alone.
package struct RecordInfo: Equatable, Sendable {
    /// The record layer, `.libxl` or `.libxc`.
    package var layer: StreamLayer
    /// The type as it stands in the header.
    package var type: UInt32
    /// Bytes of the body, without padding.
    package var length: UInt32
    /// How many records of either layer precede it in the stream.
    package var index: UInt64
    /// Absolute offset of the record's header.
    package var offset: UInt64
    /// How many checkpoints were whole before it: 0 during the initial sync.
    package var epoch: UInt64

    /// A record's place and header.
    package init(
        layer: StreamLayer,
        type: UInt32,
        length: UInt32,
        index: UInt64,
        offset: UInt64,
        epoch: UInt64
    ) {
        self.layer = layer
        self.type = type
        self.length = length
        self.index = index
        self.offset = offset
        self.epoch = epoch
    }

    /// The type, if this is a libxc record of a known type.
    package var libxcType: LibxcRecordType? { layer == .libxc ? LibxcRecordType(rawValue: type) : nil }

    /// The type, if this is a libxl record of a known type.
    package var libxlType: LibxlRecordType? { layer == .libxl ? LibxlRecordType(rawValue: type) : nil }

    /// The type's name, or its number where the type is unknown.
    package var name: String {
        libxcType?.name ?? libxlType?.name ?? "type 0x" + String(type, radix: 16)
    }
}
