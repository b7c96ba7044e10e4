import Checkpoint
import XenStream

/// All of a guest's state that does not lie in its RAM: what its vcpu works with, and leaves behind when it suspends.
///
/// Encoded as 128 bytes, little endian: u64 magic, u32 version, u32 zero, u64 memory size, u64 heap top, u64 table
/// root, u64 commands, u64 virtual nanoseconds, u64 suspensions, zeros, and at byte 120 an FNV-1a sum over the first
/// 120 bytes.
/// In the stream they are the payload of one entry of HVM_CONTEXT, with a typecode that Xen does not use.
package struct GuestRegisters: Equatable, Sendable {
    /// Bytes of the encoded form.
    package static let size = 128
    /// The typecode of our entry in HVM_CONTEXT; Xen's own go up to 20 (xen/include/public/arch-x86/hvm/save.h).
    package static let typecode: UInt16 = 0xE201

    private static let magic: UInt64 = 0x3165_7465_7265_6D52
    private static let version: UInt32 = 1

    /// Bytes of RAM these registers belong to.
    package var memorySize: UInt64
    /// The first address the allocator never gave out.
    package var heapTop: UInt64
    /// Where the table's root lies.
    package var tableRoot: UInt64
    /// Commands executed since the guest's first start.
    package var commands: UInt64 = 0
    /// Nanoseconds the vcpu has existed without being suspended.
    package var virtualTime: UInt64 = 0
    /// How often it was suspended.
    package var suspensions: UInt64 = 0

    package init(memorySize: UInt64, heapTop: UInt64, tableRoot: UInt64) {
        self.memorySize = memorySize
        self.heapTop = heapTop
        self.tableRoot = tableRoot
    }

    /// Writes the encoded form to `target`, which has room for `size` bytes.
    package func encode(to target: UnsafeMutableRawPointer) {
        target.initializeMemory(as: UInt8.self, repeating: 0, count: Self.size)
        func put(_ value: UInt64, _ offset: Int) {
            target.storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt64.self)
        }
        put(Self.magic, 0)
        put(UInt64(Self.version), 8)
        put(memorySize, 16)
        put(heapTop, 24)
        put(tableRoot, 32)
        put(commands, 40)
        put(virtualTime, 48)
        put(suspensions, 56)
        put(Self.sum(UnsafeRawPointer(target)), 120)
    }

    /// The encoded form.
    package var encoded: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.size)
        bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { encode(to: base) } }
        return bytes
    }

    /// Decodes; nil unless the bytes are whole, of this version, and fit a RAM of the size they name.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.size, let base = bytes.baseAddress, base.u64(0) == Self.magic,
            base.u64(8) == UInt64(Self.version), base.u64(120) == Self.sum(base)
        else { return nil }
        self.init(memorySize: base.u64(16), heapTop: base.u64(24), tableRoot: base.u64(32))
        commands = base.u64(40)
        virtualTime = base.u64(48)
        suspensions = base.u64(56)
        guard memorySize % UInt64(guestPageSize) == 0, heapTop <= memorySize, tableRoot < heapTop else {
            return nil
        }
    }

    /// FNV-1a, 64 bit.
    private static func sum(_ base: UnsafeRawPointer) -> UInt64 {
        var sum: UInt64 = 0xCBF2_9CE4_8422_2325
        for offset in 0..<120 { sum = (sum ^ UInt64(base.u8(offset))) &* 0x100_0000_01B3 }
        return sum
    }

    /// Finds the registers in a checkpoint's state records (libxc records, back to back): nil if they are not there.
    package static func find(inStateRecords records: [UInt8]) -> GuestRegisters? {
        records.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return nil }
            var offset = 0
            while bytes.count - offset >= RecordFraming.headerSize {
                let type = (base + offset).u32(0)
                let length = Int((base + offset).u32(4))
                let body = offset + RecordFraming.headerSize
                guard length <= bytes.count - body else { return nil }
                if type == LibxcRecordType.hvmContext.rawValue {
                    return find(inContext: UnsafeRawBufferPointer(rebasing: bytes[body..<body + length]))
                }
                offset = body + length + RecordFraming.padding(length)
            }
            return nil
        }
    }

    private static func find(inContext blob: UnsafeRawBufferPointer) -> GuestRegisters? {
        var walker = HVMContextWalker(blob)
        while let entry = walker.next() {
            guard entry.typecode == typecode else { continue }
            let payload = blob[entry.payloadOffset..<entry.payloadOffset + Int(entry.length)]
            return GuestRegisters(UnsafeRawBufferPointer(rebasing: payload))
        }
        return nil
    }
}
