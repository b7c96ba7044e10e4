import Transport

/// Sees the epochs of an order go by, on the engine's thread.
protocol EpochWatch: AnyObject, Sendable {
    /// The engine has a connection to the standby.
    func connected(_ connection: PrimaryConnection)
    /// An order begins.
    func began(_ order: EpochOrder)
    /// The guest is about to do what it does in an epoch, on this thread.
    func guestRuns()
    /// It has done it.
    func guestRan()
    /// The guest runs again, since a moment of the boot clock, and the epoch is about to be sent.
    func resumed(_ moment: UInt64)
    /// The engine has done what it could, and is about to wait.
    func looked()
    /// The order's `count`th epoch is acknowledged.
    func acknowledged(_ count: Int)
}

extension EpochWatch {
    func connected(_ connection: PrimaryConnection) {}
    func began(_ order: EpochOrder) {}
    func guestRuns() {}
    func guestRan() {}
    func resumed(_ moment: UInt64) {}
    func looked() {}
    func acknowledged(_ count: Int) {}
}
