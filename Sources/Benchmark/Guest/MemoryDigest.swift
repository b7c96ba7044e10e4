import CKernels
import Checkpoint
import SystemSupport

/// A checksum over pages and their numbers, in ascending order: the same here and there where the memory is.
package struct MemoryDigest: Equatable, Sendable, CustomStringConvertible {
    package private(set) var pages = 0
    package private(set) var checksum: UInt32 = 0

    package init() {}

    /// Of some pages of a guest's memory, ascending.
    init(of memory: Mapping, pages: some Sequence<Int>) {
        self.init()
        for pfn in pages {
            let start = memory.base + pfn * guestPageSize
            add(pfn, UnsafeRawBufferPointer(start: start, count: guestPageSize))
        }
    }

    /// Adds a page's content.
    package mutating func add(_ pfn: Int, _ content: UnsafeRawBufferPointer) {
        pages += 1
        withUnsafeBytes(of: UInt64(pfn).littleEndian) {
            checksum = ckernels_crc32c(checksum, $0.baseAddress, $0.count)
        }
        checksum = ckernels_crc32c(checksum, content.baseAddress, content.count)
    }

    package var description: String { "\(pages) \(checksum)" }
}
