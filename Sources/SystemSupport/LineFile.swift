import CLinux
import Glibc

/// A file of lines that several processes add to and nobody changes.
package enum LineFile {
    /// Adds a line: whole and on disk when this returns. One that a crash, or a full disk, cut short before is ended first.
    /// - Parameters:
    ///   - line: without its end.
    ///   - path: made for its owner alone (mode 0600) where it is missing.
    ///   - limit: a file that would have more bytes than this becomes `path.1` first, in the place of the one before.
    package static func append(_ line: [UInt8], to path: String, limit: Int) throws(SystemError) {
        makeRoom(for: line.count + 2, path, limit)
        let raw = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw SystemError("write \(path)") }
        let file = Descriptor(owning: raw)
        let end = UInt8(ascii: "\n")
        var info = stat()
        guard fstat(raw, &info) == 0 else { throw SystemError("write \(path)") }
        var last = end
        if info.st_size > 0, pread(raw, &last, 1, info.st_size - 1) != 1 { throw SystemError("read \(path)") }
        // In one write: so lines of several processes do not mix (write(2), O_APPEND).
        let bytes = (last == end ? [] : [end]) + line + [end]
        let written = try retryingInterrupts("write \(path)") { write(file.raw, bytes, bytes.count) }
        guard written == bytes.count else { throw SystemError("write \(path)", code: ENOSPC) }
        guard fsync(file.raw) == 0 else { throw SystemError("write \(path) to disk") }
        try KernelFiles().syncDirectory(of: path)
    }

    /// Where that fails, or somebody else does it at this moment, the file grows a little more.
    private static func makeRoom(for count: Int, _ path: String, _ limit: Int) {
        func isFull() -> Bool {
            var info = stat()
            return stat(path, &info) == 0 && Int(info.st_size) > limit - count
        }
        guard isFull(), let lock = try? FileLock(at: path + ".lock") else { return }
        if isFull() { _ = rename(path, path + ".1") }
        withExtendedLifetime(lock) {}
    }
}
