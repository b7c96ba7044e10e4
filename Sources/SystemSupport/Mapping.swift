import CLinux
import Glibc

/// Owns one memory mapping and unmaps it when the last reference goes.
///
/// Unchecked: the address and length never change; what lies in the memory is its user's to synchronise.
package final class Mapping: @unchecked Sendable {
    /// The first byte.
    package let base: UnsafeMutableRawPointer
    /// Length in bytes.
    package let count: Int

    /// The whole mapping as a buffer.
    package var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base, count: count)
    }

    private init(base: UnsafeMutableRawPointer, count: Int) {
        self.base = base
        self.count = count
    }

    /// Maps `count` bytes of `file`, shared with everyone else who maps it.
    package static func shared(
        _ file: Descriptor,
        count: Int,
        offset: Int = 0,
        writable: Bool = true
    ) throws(SystemError) -> Mapping {
        try map(count, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file.raw, offset)
    }

    /// Private zeroed memory of `count` bytes that costs nothing until it is touched.
    package static func anonymous(count: Int) throws(SystemError) -> Mapping {
        try map(count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    }

    private static func map(
        _ count: Int,
        _ protection: Int32,
        _ flags: Int32,
        _ raw: Int32,
        _ offset: Int
    ) throws(SystemError) -> Mapping {
        let address = mmap(nil, count, protection, flags, raw, offset)
        guard let address, address != MAP_FAILED else { throw SystemError("map \(count) bytes of memory") }
        // A second lock on the same door as `CoreDumps`: guests' memory lies in such mappings (madvise(2)).
        madvise(address, count, Int32(MADV_DONTDUMP))
        return Mapping(base: address, count: count)
    }

    /// Gives the memory of a private mapping back to the kernel; it reads as zeros afterwards.
    package func discardContents() {
        madvise(base, count, MADV_DONTNEED)
    }

    /// Keeps the memory in pages of 4 KiB, as another domain's is (madvise(2)). Before it is touched.
    package func avoidHugePages() { madvise(base, count, Int32(MADV_NOHUGEPAGE)) }

    /// Asks for pages of 2 MiB where the kernel has them to give (madvise(2)): for memory that is gone through from its start.
    /// Before it is touched.
    package func preferHugePages() { madvise(base, count, Int32(MADV_HUGEPAGE)) }

    /// Has bytes `range` of the mapping there before anybody writes to them; where the kernel cannot, they come when touched, as
    /// ever.
    package func populate(_ range: Range<Int>) {
        let first = range.lowerBound / 4096 * 4096
        let end = min(range.upperBound, count)
        // MADV_POPULATE_WRITE (madvise(2), Linux 5.14).
        if first < end { madvise(base + first, end - first, 23) }
    }

    deinit { munmap(base, count) }
}
