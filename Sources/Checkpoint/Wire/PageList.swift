import XenStream

/// The entries of a PAGE_DATA record (libxc stream, "PAGE_DATA") in few bytes: of each the distance from the one before, and
/// its type where that changes.
///
/// An entry is a number of seven bits a byte, the lowest first, bit 7 set in all but the last byte. Its bit 0 says that a
/// byte with the new type follows; the rest is pfn minus the last pfn minus one, modulo 2^52. A record begins behind pfn
/// 2^52 - 1, with type 0.
enum PageList {
    /// The most entries of a record that are coded so.
    static let longest = Staging.batch
    /// The most bytes that one takes: 53 bits and a type.
    static let widestEntry = 9

    private static let pfnMask: UInt64 = 1 << 52 - 1

    /// Codes `count` entries of 8 bytes each.
    /// - Returns: the bytes written; nil, with `target` in any state, if one has bits that no entry has.
    static func encode(_ entries: UnsafeRawPointer, count: Int, into target: UnsafeMutableRawPointer) -> Int?
    {
        var (last, type) = (pfnMask, UInt64(0))
        var written = 0
        for index in 0..<count {
            let entry = UInt64(
                littleEndian: entries.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
            )
            let (pfn, newType) = (entry & pfnMask, entry >> 60)
            guard entry & ~(pfnMask | 0xF << 60) == 0 else { return nil }
            var number = ((pfn &- last &- 1) & pfnMask) << 1 | (newType == type ? 0 : 1)
            while number > 0x7F {
                let byte = UInt8(truncatingIfNeeded: number) | 0x80
                target.storeBytes(of: byte, toByteOffset: written, as: UInt8.self)
                number >>= 7
                written += 1
            }
            target.storeBytes(of: UInt8(number), toByteOffset: written, as: UInt8.self)
            written += 1
            if newType != type {
                target.storeBytes(of: UInt8(newType), toByteOffset: written, as: UInt8.self)
                written += 1
            }
            (last, type) = (pfn, newType)
        }
        return written
    }

    /// Fills `entries` with what `bytes` begin with.
    /// - Returns: the bytes read.
    static func decode(
        _ bytes: UnsafeRawBufferPointer,
        into entries: UnsafeMutableBufferPointer<UInt64>
    ) throws(EncodedFrameError) -> Int {
        var (last, type) = (pfnMask, UInt64(0))
        var read = 0
        for index in entries.indices {
            var number: UInt64 = 0
            var shift: UInt64 = 0
            while true {
                guard read < bytes.count, shift < 56 else {
                    throw EncodedFrameError("a page list is malformed")
                }
                let byte = bytes[read]
                read += 1
                number |= UInt64(byte & 0x7F) << shift
                shift += 7
                if byte & 0x80 == 0 { break }
            }
            guard number >> 1 <= pfnMask else { throw EncodedFrameError("a page list is malformed") }
            last = (last &+ 1 &+ (number >> 1)) & pfnMask
            if number & 1 != 0 {
                guard read < bytes.count, bytes[read] <= 0xF else {
                    throw EncodedFrameError("a page list has a type that is none")
                }
                type = UInt64(bytes[read])
                read += 1
            }
            entries[index] = type << 60 | last
        }
        return read
    }

    /// How many of the entries have data.
    static func pages(_ entries: UnsafeMutableBufferPointer<UInt64>) -> Int {
        var count = 0
        for entry in entries where hasData(entry) { count += 1 }
        return count
    }

    /// Whether 4096 bytes follow for it (`PageType.carriesData`).
    static func hasData(_ entry: UInt64) -> Bool { entry >> 60 < 0xD }
    static func pfn(_ entry: UInt64) -> Int { Int(entry & pfnMask) }
}
