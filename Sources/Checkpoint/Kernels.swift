/// The kernels of CKernels in plain Swift: slow, obvious, and their oracle in the tests.
package enum SwiftKernels {
    /// CRC-32C (RFC 3720, appendix B.4) of `bytes`, continued from `crc` (0 to begin).
    package static func crc32c(_ crc: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var crc = ~crc
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 0 ? 0 : 0x82F6_3B78) }
        }
        return ~crc
    }

    /// True if all of `bytes` are zero.
    package static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.allSatisfy { $0 == 0 } }
}
