import Glibc
import SystemSupport

/// A file written aside, as `FILE.part`, which becomes FILE only when it is whole. Readable by its owner alone: it
/// holds a guest's memory.
package final class AsideFile: Sendable {
    /// Where it goes.
    package let path: String
    /// Where it is until then.
    package let partPath: String
    private let file: Descriptor

    /// The descriptor to write to.
    package var raw: Int32 { file.raw }

    /// Creates the part, in the place of one left over from before.
    /// - Throws: `PathError` if something other than a file is at `path` (it would be replaced), `SystemError` if the
    ///   part cannot be created.
    package init(path: String) throws {
        var info = stat()
        if stat(path, &info) == 0, info.st_mode & S_IFMT != S_IFREG {
            throw PathError(
                path: path,
                reason: "it is there and not a file; name a file, or - for standard output"
            )
        }
        self.path = path
        partPath = path + ".part"
        guard unlink(partPath) == 0 || errno == ENOENT else {
            throw SystemError("remove the old \(partPath)")
        }
        let raw = open(partPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard raw >= 0 else { throw SystemError("create \(partPath)") }
        file = Descriptor(owning: raw)
    }

    /// Makes the part durable and gives it its name.
    package func commit() throws(SystemError) {
        guard fsync(file.raw) == 0 else { throw SystemError("write \(partPath) to disk") }
        guard rename(partPath, path) == 0 else { throw SystemError("replace \(path)") }
        let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let raw = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard raw >= 0 else { throw SystemError("open directory \(parent)") }
        let directory = Descriptor(owning: raw)
        guard fsync(directory.raw) == 0 else { throw SystemError("write directory \(parent) to disk") }
    }

    /// Removes the part. After `commit` there is none, and nothing happens.
    package func discard() { unlink(partPath) }
}
