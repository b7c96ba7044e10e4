/// Loads and stores of the fixed-width integers of the stream, at any alignment.
///
/// Records are little endian on x86 (libxc stream spec, "Domain header" and "Image header"); the image header and the
/// libxl header are always big endian.
extension UnsafeRawPointer {
    /// The little endian 16-bit value at `offset`.
    @inline(__always)
    package func u16(_ offset: Int) -> UInt16 {
        UInt16(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    /// The little endian 32-bit value at `offset`.
    @inline(__always)
    package func u32(_ offset: Int) -> UInt32 {
        UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// The little endian 64-bit value at `offset`.
    @inline(__always)
    package func u64(_ offset: Int) -> UInt64 {
        UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// The byte at `offset`.
    @inline(__always)
    package func u8(_ offset: Int) -> UInt8 {
        load(fromByteOffset: offset, as: UInt8.self)
    }

    /// Whether `count` bytes from `offset` are all zero.
    package func isZero(_ offset: Int, _ count: Int) -> Bool {
        for index in 0..<count where u8(offset + index) != 0 { return false }
        return true
    }
}

/// Facts of the record framing that both layers share (libxc stream spec, "Records"; libxl stream spec, "Records").
package enum RecordFraming {
    /// Bytes of a record's header: u32 type, u32 length.
    package static let headerSize = 8
    /// The longest body the libxc layer allows, 128 MiB.
    package static let libxcMaximumLength: UInt32 = 128 << 20
    /// Bytes of a page's content in PAGE_DATA.
    package static let pageSize = 4096
    /// The most PFNs Xen's own sender puts into one PAGE_DATA record.
    package static let customaryBatch = 1024

    /// Zero bytes that follow a body of `length` bytes so that the next record starts 8-aligned.
    @inline(__always)
    package static func padding(_ length: Int) -> Int { -length & 7 }
}
