import Glibc
import SystemSupport
import Transport

/// A host's own key: made once, at its first use, and kept in the state directory.
package enum HostIdentity {
    /// How long a certificate is good for, and how long before its end it is made anew, in seconds. Peers have pinned the
    /// key: a new certificate for it is nothing to them.
    static let lifetime: Int64 = 3650 * 86_400, renewal: Int64 = 730 * 86_400

    /// This host's key.
    /// - Throws: `SystemError`, `TLSError`, `PathError`. A key that is there and cannot be read is never replaced.
    package static func load(
        _ paths: Paths,
        now: Int64 = Int64(Clock.wall / 1_000_000_000)
    ) throws -> HostKey {
        try SmallFile.makeDirectories(paths.state)
        let lock = try FileLock.waiting(at: paths.hostKey + ".lock", milliseconds: 5000)
        defer { withExtendedLifetime(lock) {} }
        var info = stat()
        guard lstat(paths.hostKey, &info) == 0 else {
            guard errno == ENOENT else { throw SystemError("look at \(paths.hostKey)") }
            return try keep(
                HostKey(newFor: PrimaryIdentity.hostName, validIn: now - 86_400...now + lifetime),
                paths
            )
        }
        guard info.st_mode & 0o077 == 0 else {
            throw PathError(
                path: paths.hostKey,
                reason:
                    "others than its owner may read this host's key, or change it: chmod 600 it, and if they may "
                    + "have, move it away and pair again"
            )
        }
        guard let bytes = SmallFile.readBytes(paths.hostKey) else {
            throw SystemError("read \(paths.hostKey)")
        }
        let key: HostKey
        do {
            key = try HostKey(pem: bytes)
        } catch {
            throw PathError(
                path: paths.hostKey,
                reason: "\(error); bring it back from a backup, or move it away and pair again"
            )
        }
        guard key.expires < now + renewal else { return key }
        return try keep(
            HostKey(key, host: PrimaryIdentity.hostName, validIn: now - 86_400...now + lifetime),
            paths
        )
    }

    private static func keep(_ key: HostKey, _ paths: Paths) throws -> HostKey {
        try SmallFile.replace(paths.hostKey, with: try key.pem)
        return key
    }

    /// TLS with the hosts that this one is paired with.
    /// - Parameter guest: the one that it is to be used for, if for one only.
    package static func security(_ paths: Paths, guest: String? = nil) throws -> LinkSecurity {
        let book = PeerBook(paths)
        return .tls(try TLSContext(key: load(paths)) { book.verdict(on: $0, guest: guest) })
    }
}
