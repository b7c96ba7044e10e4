import CLinux
import Glibc

/// Where a file has data and where it has holes (lseek(2), SEEK_DATA and SEEK_HOLE).
package enum SparseFile {
    /// Hands every range of bytes that is backed to `body`, ascending, within the file's first `size` bytes.
    package static func forEachDataRange(
        of file: Descriptor,
        size: Int,
        _ body: (Range<Int>) -> Void
    ) throws(SystemError) {
        var offset = 0
        while offset < size {
            let start = lseek(file.raw, offset, SEEK_DATA)
            if start < 0 {
                if errno == ENXIO { return }
                throw SystemError("find the data of a memory file")
            }
            guard start < size else { return }
            let end = lseek(file.raw, start, SEEK_HOLE)
            guard end > start else { throw SystemError("find the holes of a memory file") }
            body(start..<min(end, size))
            offset = end
        }
    }
}
