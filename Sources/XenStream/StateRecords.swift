/// Body of X86_TSC_INFO (libxc stream spec, "X86_TSC_INFO").
package struct TSCInfo: Equatable, Sendable {
    /// Bytes of the body.
    package static let size = 24

    /// 0 default, 1 always emulate, 2 never emulate; senders before 4.13 also knew 3.
    package var mode: UInt32
    /// Frequency in kHz.
    package var khz: UInt32
    /// Nanoseconds that had elapsed.
    package var nanoseconds: UInt64
    /// Counts how often the guest was moved.
    package var incarnation: UInt32

    /// The guest's view of time.
    package init(mode: UInt32 = 0, khz: UInt32, nanoseconds: UInt64, incarnation: UInt32) {
        self.mode = mode
        self.khz = khz
        self.nanoseconds = nanoseconds
        self.incarnation = incarnation
    }

    /// Decodes a body of `size` bytes.
    package init(at base: UnsafeRawPointer) {
        self.init(
            mode: base.u32(0),
            khz: base.u32(4),
            nanoseconds: base.u64(8),
            incarnation: base.u32(16)
        )
    }
}

/// One entry of HVM_PARAMS: u64 index, u64 value (libxc stream spec, "HVM_PARAMS").
package struct HVMParam: Equatable, Sendable {
    /// Bytes of an entry.
    package static let size = 16
    /// Bytes before the entries: u32 count, u32 reserved.
    package static let listHeaderSize = 8

    /// PFN of the page shared with xenstored.
    package static let storePFN: UInt64 = 1
    /// PFN of the device model's request page.
    package static let ioreqPFN: UInt64 = 5
    /// PFN of the device model's buffered request page.
    package static let bufioreqPFN: UInt64 = 6
    /// Viridian (Hyper-V) interface bits.
    package static let viridian: UInt64 = 9
    /// Identity page table.
    package static let identPT: UInt64 = 12
    /// PFN of the console page.
    package static let consolePFN: UInt64 = 17

    /// The parameter's number.
    package var index: UInt64
    /// Its value.
    package var value: UInt64

    /// A parameter.
    package init(index: UInt64, value: UInt64) {
        self.index = index
        self.value = value
    }

    /// Decodes the entry at `base`.
    package init(at base: UnsafeRawPointer) {
        self.init(index: base.u64(0), value: base.u64(8))
    }
}

/// What precedes the blob in the four X86_PV_VCPU records: u32 vcpu, u32 reserved (libxc stream spec, "X86_PV_VCPU").
package struct VcpuRecordHeader: Equatable, Sendable {
    /// Bytes before the blob.
    package static let size = 8
    /// The largest X86_PV_VCPU_EXTENDED blob a receiver takes.
    package static let maximumExtendedBlob = 128
    /// Where the X86_PV_VCPU_EXTENDED blob has its own size, a u32.
    package static let extendedSizeOffset = 4
    /// The smallest X86_PV_VCPU_XSAVE blob: the two feature masks.
    package static let minimumXsaveBlob = 16
    /// Bytes of one entry in X86_PV_VCPU_MSRS: u32 index, u32 reserved, u64 value.
    package static let msrEntrySize = 16

    /// The vcpu's number.
    package var vcpu: UInt32

    /// The header of a vcpu's record.
    package init(vcpu: UInt32) { self.vcpu = vcpu }
}

/// What precedes the content of the two emulator records: u32 id, u32 index (libxl stream spec, "EMULATOR").
package struct EmulatorHeader: Equatable, Sendable {
    /// Bytes before the content.
    package static let size = 8
    /// Emulator ids: unknown (from a legacy stream).
    package static let unknownID: UInt32 = 0
    /// Emulator ids: the old fork.
    package static let traditionalID: UInt32 = 1
    /// Emulator ids: upstream QEMU.
    package static let upstreamID: UInt32 = 2

    /// Which emulator.
    package var id: UInt32
    /// Which of several; always 0.
    package var index: UInt32

    /// The header of an emulator's record.
    package init(id: UInt32 = EmulatorHeader.upstreamID, index: UInt32 = 0) {
        self.id = id
        self.index = index
    }
}
