import Glibc
import SystemSupport

/// The right to serve a socket: a lock on a file beside it, held until it is given back or its process dies, however
/// it dies (flock(2)). Unlike SystemSupport's `FileLock` it leaves no file behind.
final class SocketLock: Sendable {
    private let path: String
    private let file: Descriptor

    /// Takes the lock at `path`, or returns nil if another process (or object) holds it.
    init?(path: String) throws(SystemError) {
        while true {
            let raw = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            guard raw >= 0 else { throw SystemError("open lock \(path)") }
            let file = Descriptor(owning: raw)
            guard flock(raw, LOCK_EX | LOCK_NB) == 0 else {
                if errno == EWOULDBLOCK { return nil }
                throw SystemError("take lock \(path)")
            }
            // The last owner may have removed the file between our open and our lock: then nobody else would see it.
            var held = stat()
            var named = stat()
            if fstat(raw, &held) == 0, stat(path, &named) == 0, held.st_ino == named.st_ino {
                self.path = path
                self.file = file
                return
            }
        }
    }

    /// Removes the file, then lets go of the lock, in this order: who opens it in between looks again.
    deinit { unlink(path) }
}
