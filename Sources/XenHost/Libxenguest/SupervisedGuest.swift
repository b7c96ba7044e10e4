import Checkpoint

/// What the second engine needs of the native engine's guest besides suspending and resuming.
package protocol SupervisedGuest: ProtectedGuest {
    /// Since `forgetDisturbance` something happened that dirty pages may have been lost by: another tool suspended the guest,
    /// or was about to, and Xen has one log-dirty bitmap for all.
    var isDisturbed: Bool { get }
    /// What was known of dirty pages is given up; from here on disturbances count anew.
    func forgetDisturbance()
    /// Pages of RAM that the guest has now.
    func countPages() throws(GuestError) -> Int
    /// Switches log-dirty off, whoever switched it on. Never fails loudly.
    func endLogDirty()
}
