import Checkpoint

extension XenGuest: SupervisedGuest {
    package var isDisturbed: Bool { suspension.isVoid }

    package func forgetDisturbance() { suspension.trackingRestarted() }

    package func countPages() throws(GuestError) -> Int {
        guard let now = try hypervisor.domain(domain) else {
            throw GuestError(guest: description.name, reason: "it is gone, see xl list")
        }
        return now.pages
    }

    package func endLogDirty() { dirtyLog.stopWhoeverHasIt() }
}
