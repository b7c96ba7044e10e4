/// One entry of the blob in HVM_CONTEXT: {u16 typecode, u16 instance, u32 length} and a payload.
package struct HVMContextEntry: Equatable, Sendable {
    /// Bytes before the payload.
    package static let headerSize = 8
    /// Typecode of the entry that ends the blob.
    package static let endTypecode: UInt16 = 0
    /// Typecode of the entry that starts it.
    package static let headerTypecode: UInt16 = 1
    /// Typecode of a vcpu's registers.
    package static let cpuTypecode: UInt16 = 2
    /// Bytes of the first entry's payload.
    package static let headerPayloadSize = 24
    /// The first word of the first entry's payload.
    package static let magic: UInt32 = 0x5438_1286
    /// The second word of the first entry's payload.
    package static let version: UInt32 = 1

    /// What the payload is.
    package var typecode: UInt16
    /// Whose: the vcpu, or the chip's number.
    package var instance: UInt16
    /// Bytes of the payload.
    package var length: UInt32
    /// Where the payload starts in the blob.
    package var payloadOffset: Int

    /// The typecode's name, nil for one this version does not know.
    package var name: String? {
        let names = [
            "END", "HEADER", "CPU", "PIC", "IOAPIC", "LAPIC", "LAPIC_REGS", "PCI_IRQ", "ISA_IRQ", "PCI_LINK",
            "PIT", "RTC", "HPET", "PMTIMER", "MTRR", "VIRIDIAN_DOMAIN", "CPU_XSAVE", "VIRIDIAN_VCPU",
            "VMCE_VCPU", "TSC_ADJUST", "CPU_MSR",
        ]
        return Int(typecode) < names.count ? names[Int(typecode)] : nil
    }
}

/// Walks the entries of an HVM_CONTEXT blob without copying.
package struct HVMContextWalker {
    private let blob: UnsafeRawBufferPointer
    private var position = 0
    /// True once the closing entry was met and nothing follows it.
    package private(set) var isWhole = false

    /// A walker at the blob's first entry.
    package init(_ blob: UnsafeRawBufferPointer) { self.blob = blob }

    /// The next entry, nil after the closing entry or where an entry runs past the blob; see `isWhole`.
    package mutating func next() -> HVMContextEntry? {
        guard let base = blob.baseAddress, !isWhole,
            blob.count - position >= HVMContextEntry.headerSize
        else { return nil }
        let head = base + position
        let entry = HVMContextEntry(
            typecode: head.u16(0),
            instance: head.u16(2),
            length: head.u32(4),
            payloadOffset: position + HVMContextEntry.headerSize
        )
        let end = entry.payloadOffset + Int(entry.length)
        guard end <= blob.count else {
            position = blob.count
            return nil
        }
        position = end
        if entry.typecode == HVMContextEntry.endTypecode {
            isWhole = end == blob.count && entry.length == 0
            position = blob.count
            return nil
        }
        return entry
    }

    /// Whether a blob starts with the header entry and its magic, and its entries fill it exactly up to the closing one.
    package static func isWellFormed(_ blob: UnsafeRawBufferPointer) -> Bool {
        var walker = HVMContextWalker(blob)
        guard let base = blob.baseAddress, let first = walker.next(),
            first.typecode == HVMContextEntry.headerTypecode,
            first.length == HVMContextEntry.headerPayloadSize,
            (base + first.payloadOffset).u32(0) == HVMContextEntry.magic
        else { return false }
        while walker.next() != nil {}
        return walker.isWhole
    }
}
