import Checkpoint
import Glibc
import SystemSupport

/// An open directory of a file arbiter. What is done in it stays on one file system, whatever is mounted or unmounted over its
/// path meanwhile.
struct ArbiterDirectory {
    /// Steps at which a process may die, for tests.
    enum Step: CaseIterable {
        case create, write, sync, link, unlink, syncDirectory
    }

    /// What the calls below are made for, in words.
    let path: String
    private let directory: Descriptor
    private let before: @Sendable (Step) throws(ArbiterError) -> Void

    /// - Parameter before: called before each step; throwing there is dying there.
    init(
        _ path: String,
        before: @escaping @Sendable (Step) throws(ArbiterError) -> Void = { _ in }
    ) throws(ArbiterError) {
        let raw = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard raw >= 0 else { throw Self.failure("open directory \(path)") }
        self.init(path, Descriptor(owning: raw), before)
    }

    private init(
        _ path: String,
        _ directory: Descriptor,
        _ before: @escaping @Sendable (Step) throws(ArbiterError) -> Void
    ) {
        self.path = path
        self.directory = directory
        self.before = before
    }

    /// A directory in this one; nil if there is none.
    func directory(_ name: String) throws(ArbiterError) -> ArbiterDirectory? {
        let raw = openat(directory.raw, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        if raw < 0, errno == ENOENT { return nil }
        guard raw >= 0 else { throw Self.failure("open directory \(path)/\(name)") }
        return ArbiterDirectory("\(path)/\(name)", Descriptor(owning: raw), before)
    }

    /// A directory in this one, made durably where there is none.
    func make(_ name: String) throws(ArbiterError) -> ArbiterDirectory {
        guard mkdirat(directory.raw, name, 0o755) == 0 || errno == EEXIST else {
            throw Self.failure("make directory \(path)/\(name)")
        }
        try sync()
        guard let made = try directory(name) else { throw ArbiterError("\(path)/\(name) is gone again") }
        return made
    }

    /// The bytes of a file, `GrantDocument.limit` and one more at most; nil if there is none.
    func read(_ name: String) throws(ArbiterError) -> [UInt8]? {
        let raw = openat(directory.raw, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        if raw < 0, errno == ENOENT { return nil }
        guard raw >= 0 else { throw Self.failure("open \(path)/\(name)") }
        let file = Descriptor(owning: raw)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: GrantDocument.limit + 1)
        while bytes.count <= GrantDocument.limit {
            let count = Glibc.read(file.raw, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.failure("read \(path)/\(name)") }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        return bytes
    }

    /// The names in it.
    func names() throws(ArbiterError) -> [String] {
        // readdir(3) needs a position of its own.
        let raw = openat(directory.raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard raw >= 0 else { throw Self.failure("read directory \(path)") }
        guard let stream = fdopendir(raw) else {
            close(raw)
            throw Self.failure("read directory \(path)")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw Self.failure("read directory \(path)") }
                return names
            }
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
            )
        }
    }

    /// Has an NFS client forget what it remembers of the directory (nfs(5), "Directory entry caching"): it changes.
    func refresh() throws(ArbiterError) {
        let name = Self.random(".look-")
        let raw = openat(directory.raw, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw Self.failure("write in \(path)") }
        close(raw)
        remove(name)
    }

    /// Gives `bytes` the name `name`, all of them or none, if there is no such file yet (link(2)).
    /// - Parameter prefix: how the private file's name begins.
    /// - Returns: false if the name was taken. NFS may say so where it was ourselves (open(2), O_EXCL): what the file says counts.
    func publish(_ bytes: [UInt8], as name: String, prefix: String) throws(ArbiterError) -> Bool {
        let aside = Self.random(prefix)
        try before(.create)
        let raw = openat(directory.raw, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard raw >= 0 else { throw Self.failure("write in \(path)") }
        let file = Descriptor(owning: raw)
        try before(.write)
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { write(file.raw, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw giveUp(aside, "write in \(path)") }
            done += count
        }
        try before(.sync)
        guard fsync(file.raw) == 0 else { throw giveUp(aside, "write in \(path) to disk") }
        try before(.link)
        let isDone = linkat(directory.raw, aside, directory.raw, name, 0) == 0
        guard isDone || errno == EEXIST else { throw giveUp(aside, "link \(path)/\(name)") }
        try before(.unlink)
        remove(aside)
        return isDone
    }

    /// The error of what just failed; the private file goes.
    private func giveUp(_ aside: String, _ operation: String) -> ArbiterError {
        let error = Self.failure(operation)
        remove(aside)
        return error
    }

    /// The names in it are durable.
    func sync() throws(ArbiterError) {
        try before(.syncDirectory)
        guard fsync(directory.raw) == 0 else { throw Self.failure("write directory \(path) to disk") }
    }

    /// Removes a file, whether or not it is there.
    func remove(_ name: String) { unlinkat(directory.raw, name, 0) }

    /// Removes an empty directory.
    func removeDirectory(_ name: String) { unlinkat(directory.raw, name, AT_REMOVEDIR) }

    /// The kind of its file system, if other hosts cannot have that mounted, as far as is known here: `ext4`. Nil for NFS and its
    /// like, and where it cannot be told.
    func localKind() -> String? {
        var info = stat()
        guard fstat(directory.raw, &info) == 0, let table = SmallFile.read("/proc/self/mountinfo") else {
            return nil
        }
        let device = UInt64(info.st_dev)
        // makedev(3), the other way round.
        let major = device >> 8 & 0xFFF | device >> 32 & ~0xFFF
        let minor = device & 0xFF | device >> 12 & ~0xFF
        // proc(5), mountinfo: field 3 is the device; the kind is the first after the lone hyphen.
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 2, fields[2] == "\(major):\(minor)",
                let hyphen = fields.firstIndex(of: "-"), hyphen + 1 < fields.endIndex
            else { continue }
            let kind = String(fields[hyphen + 1])
            return Self.sharedKinds.contains { kind.hasPrefix($0) } ? nil : kind
        }
        return nil
    }

    /// How the kinds begin that several hosts can have mounted.
    private static let sharedKinds = [
        "nfs", "cifs", "smb", "ocfs2", "gfs2", "ceph", "lustre", "fuse", "9p", "afs", "gpfs", "beegfs",
        "virtiofs",
    ]

    private static func random(_ prefix: String) -> String { prefix + HexID.text(.random(in: .min ... .max)) }

    private static func failure(_ operation: String) -> ArbiterError {
        ArbiterError("\(SystemError(operation))")
    }
}
