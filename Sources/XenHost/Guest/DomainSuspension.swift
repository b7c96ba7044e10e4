import Checkpoint

/// Suspends a domain and lets it go on, without ever waiting for it.
package protocol DomainSuspension: AnyObject {
    /// Readable when something may have happened.
    var eventDescriptor: Int32 { get }
    var isSuspended: Bool { get }
    /// Asks it to suspend.
    func request() throws(GuestError)
    /// What came of the request, nil while it is on its way.
    func outcome() throws(GuestError) -> SuspendOutcome?
    /// Withdraws the request; a guest that has suspended runs on.
    func cancel()
    /// Lets a guest that is suspended for us run on.
    func resume() throws(GuestError)
    /// Whether the guest has ended; cheap, and called often.
    func checkEnd() -> GuestEnd?
    /// The guest runs, and nothing of ours is on its way to it, at the latest when `limit` nanoseconds have passed.
    func settle(within limit: UInt64)
}
