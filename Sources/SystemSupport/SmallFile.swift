import CLinux
import Glibc

/// Files that fit in memory, read and replaced whole.
package enum SmallFile {
    /// The file's text, or nil if it cannot be read.
    package static func read(_ path: String) -> String? {
        guard let bytes = readBytes(path) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The file's bytes, or nil if it cannot be read.
    package static func readBytes(_ path: String) -> [UInt8]? {
        let raw = open(path, O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { return nil }
        let file = Descriptor(owning: raw)
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(file.raw, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return nil }
            if count == 0 { return result }
            result.append(contentsOf: chunk[0..<count])
        }
    }

    /// Opens a log of one process or more, to be written at its end; made for its owner alone.
    package static func openLog(_ path: String) throws(SystemError) -> Descriptor {
        let raw = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw SystemError("write \(path)") }
        return Descriptor(owning: raw)
    }

    /// Replaces the file durably: after a crash at any moment it holds either the old bytes or the new.
    /// Written aside, fsynced, renamed, and the directory fsynced (rename(2), fsync(2)).
    package static func replace(_ path: String, with bytes: [UInt8], mode: UInt32 = 0o600) throws(SystemError)
    {
        try replace(path, with: bytes, mode: mode, on: KernelFiles())
    }

    /// The same on files that somebody else keeps.
    package static func replace(
        _ path: String,
        with bytes: [UInt8],
        mode: UInt32 = 0o600,
        on files: some ReplaceableFiles
    ) throws(SystemError) {
        let aside = path + ".new"
        let file = try files.create(aside, mode: mode)
        var done = 0
        while done < bytes.count { done += try files.write(bytes[done...], to: file) }
        try files.sync(file)
        try files.rename(aside, to: path)
        try files.syncDirectory(of: path)
    }

    /// Writes a text into a file that is there, as the kernel's own (proc(5), sysfs) want it: in one write, not durably.
    package static func overwrite(_ path: String, with text: String) throws(SystemError) {
        let raw = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)
        guard raw >= 0 else { throw SystemError("write \(path)") }
        let file = Descriptor(owning: raw)
        let bytes = Array(text.utf8)
        try retryingInterrupts("write \(path)") { write(file.raw, bytes, bytes.count) }
    }

    /// Makes `path` a symbolic link; at no moment there is nothing. What was there, a file or a link, is replaced.
    package static func replaceLink(_ path: String, to target: String) throws(SystemError) {
        let aside = path + ".new"
        guard unlink(aside) == 0 || errno == ENOENT else { throw SystemError("remove \(aside)") }
        guard symlink(target, aside) == 0, rename(aside, path) == 0 else {
            throw SystemError("make \(path) lead to \(target)")
        }
    }

    /// What a symbolic link leads to, as it says; nil if there is none at `path`.
    package static func target(ofLink path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { (bytes: UnsafeMutableRawBufferPointer) -> Int in
            guard let base = bytes.bindMemory(to: CChar.self).baseAddress else { return 0 }
            return readlink(path, base, bytes.count)
        }
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    /// The names in a folder, hidden ones too, in no order; none where it cannot be read.
    package static func names(in folder: String) -> [String] {
        guard let handle = opendir(folder) else { return [] }
        defer { closedir(handle) }
        return names(of: handle)
    }

    /// The same without those that begin with a dot, in order.
    package static func visibleNames(in folder: String) -> [String] {
        names(in: folder).filter { !$0.hasPrefix(".") }.sorted()
    }

    /// All of a folder that is open (opendir(3)), from where it was read to.
    package static func names(of folder: OpaquePointer) -> [String] {
        var found: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { found.append(name) }
        }
        return found
    }

    /// Removes the file durably; a file that is not there is no error.
    package static func remove(_ path: String) throws(SystemError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw SystemError("remove \(path)") }
        try KernelFiles().syncDirectory(of: path)
    }

    /// Makes a directory and its missing parents, mode 0700 for those it makes.
    package static func makeDirectories(_ path: String) throws(SystemError) {
        var built = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            built += "/" + part
            guard mkdir(built, 0o700) == 0 || errno == EEXIST else {
                throw SystemError("make directory \(built)")
            }
        }
    }
}

/// The steps of a durable replacement, for whoever keeps the files: the kernel, or a simulated disk that forgets what
/// was not synced.
package protocol ReplaceableFiles {
    associatedtype File

    /// An empty file at `path`, whatever was there.
    func create(_ path: String, mode: UInt32) throws(SystemError) -> File
    /// Appends some of `bytes`.
    /// - Returns: how many.
    func write(_ bytes: ArraySlice<UInt8>, to file: File) throws(SystemError) -> Int
    /// What was written is durable.
    func sync(_ file: File) throws(SystemError)
    /// The file at `aside` takes the place of the one at `path`.
    func rename(_ aside: String, to path: String) throws(SystemError)
    /// The names beside `path` are durable.
    func syncDirectory(of path: String) throws(SystemError)
}

/// The kernel's own.
struct KernelFiles: ReplaceableFiles {
    struct File {
        let descriptor: Descriptor
        let path: String
    }

    func create(_ path: String, mode: UInt32) throws(SystemError) -> File {
        let raw = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard raw >= 0 else { throw SystemError("write \(path)") }
        return File(descriptor: Descriptor(owning: raw), path: path)
    }

    func write(_ bytes: ArraySlice<UInt8>, to file: File) throws(SystemError) -> Int {
        try retryingInterrupts("write \(file.path)") {
            bytes.withUnsafeBytes { Glibc.write(file.descriptor.raw, $0.baseAddress, $0.count) }
        }
    }

    func sync(_ file: File) throws(SystemError) {
        guard fsync(file.descriptor.raw) == 0 else { throw SystemError("write \(file.path) to disk") }
    }

    func rename(_ aside: String, to path: String) throws(SystemError) {
        guard Glibc.rename(aside, path) == 0 else { throw SystemError("replace \(path)") }
    }

    func syncDirectory(of path: String) throws(SystemError) {
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let raw = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard raw >= 0 else { throw SystemError("open directory \(parent)") }
        let directory = Descriptor(owning: raw)
        guard fsync(directory.raw) == 0 else { throw SystemError("write directory \(parent) to disk") }
    }
}
