import Checkpoint
import Glibc
import Logging
import SystemSupport
import XenHost

/// The process that sees to a guest's end (`GuestKeeper`).
package enum GuestKeeping {
    /// Starts it, unless there is one. Without it the guest is protected all the same: a failure is said and no more.
    static func start(_ guest: FoundGuest, logs folder: String) {
        let log = Logger(label: "protect")
        do throws(SystemError) {
            let pid = try ChildProcess.spawnDetached(
                ChildProcess.ownPath,
                ["xen-keeper", "--guest", "\(guest.uuid)"],
                errors: SmallFile.openLog("\(folder)/keeper-\(guest.name).log")
            )
            ChildProcess.reapWhenEnded(pid)
        } catch {
            log.error(
                "nobody will see to the guest's on_poweroff, on_reboot and on_crash: \(error)",
                metadata: ["guest": "\(guest.name)"]
            )
        }
    }

    /// Keeps the guest with this UUID until it is gone; returns at once if it has a keeper.
    package static func run(_ uuid: String) throws(GuestError) {
        let guest = try GuestFinder.find(uuid)
        var log = Logger(label: "keeper")
        log[metadataKey: "guest"] = "\(guest.name)"
        let told = log
        guard let keeper = try GuestKeeper.become(guest, log: { told.notice("\($0)") }) else { return }
        OutputKeeping.start(guest, log)
        try keeper.run()
        // Its domain goes: so does what its interfaces had.
        OutputKeeping.drop(guest)
    }

    /// Waits for a guest that rebooted to be there again under another domid.
    /// - Parameter isStopped: asked between two looks; true ends the waiting.
    /// - Returns: the guest, nil if it is not there after `limit`.
    package static func awaitReboot(
        of old: FoundGuest,
        limit: TimeSpan,
        isStopped: () -> Bool
    ) -> FoundGuest? {
        let deadline = Clock.monotonic + limit.nanoseconds
        while Clock.monotonic < deadline, !isStopped() {
            let found = try? GuestFinder.find(old.uuid.description)
            // While it is being made, its keeper has it.
            if let found, found.domain != old.domain, !found.name.isEmpty, (try? GuestLock.take(found)) != nil
            {
                return found
            }
            usleep(500_000)
        }
        return nil
    }
}
