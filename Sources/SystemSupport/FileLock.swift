import CLinux
import Glibc

/// A lock on a file that the kernel takes back when its holder dies (flock(2)).
package final class FileLock: Sendable {
    /// The locked file. A child that inherits it holds the lock too, until the last of its holders has ended.
    package let file: Descriptor

    /// Takes the lock at `path`, creating the file (mode 0600) if need be. Never waits.
    /// - Throws: `EWOULDBLOCK` if somebody else holds it.
    package init(at path: String) throws(SystemError) {
        let raw = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw SystemError("open lock file \(path)") }
        file = Descriptor(owning: raw)
        guard flock(raw, LOCK_EX | LOCK_NB) == 0 else { throw SystemError("lock \(path)") }
    }

    /// The same, waiting for somebody else's to end.
    package static func waiting(at path: String, milliseconds: Int) throws(SystemError) -> FileLock {
        for _ in 0..<(milliseconds / 10) {
            do throws(SystemError) {
                return try FileLock(at: path)
            } catch {
                guard error.code == EWOULDBLOCK else { throw error }
                usleep(10_000)
            }
        }
        return try FileLock(at: path)
    }
}
