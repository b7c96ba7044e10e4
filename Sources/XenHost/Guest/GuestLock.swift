import Checkpoint
import Glibc
import SystemSupport

/// Who may suspend a guest, resume it and read Xen's record of its writes: one process of this host, whatever folders it was
/// told to use. The kernel takes the lock back when that process dies.
package enum GuestLock {
    /// Where Xen's own tools have their sockets and locks.
    private static let folder = "/run/xen"

    /// Takes the guest for this process, as long as the result lives.
    /// - Throws: if another process has it.
    package static func take(_ guest: FoundGuest) throws(GuestError) -> FileLock {
        do throws(SystemError) {
            return try FileLock(at: "\(folder)/remusd-\(guest.uuid).lock")
        } catch {
            let reason =
                error.code == EWOULDBLOCK
                ? "something else protects it already: another remusd protect on this host has it"
                : "\(error)"
            throw GuestError(guest: guest.name, reason: reason)
        }
    }
}
