/// How a primary is lost.
enum FailoverLoss: String, CaseIterable, Sendable {
    /// Its processes are killed: its kernel resets the connection, or ends it.
    case reset
    /// Its processes are stopped: nothing comes any more, and nothing else is seen.
    case silence
}

/// One failover's moments, in nanoseconds of the boot clock.
struct FailoverSample: Equatable, Sendable {
    /// The signals were sent.
    var lost: UInt64
    /// The standby's socket told the end of the connection; after silence: the primary was heard last.
    var noticed: UInt64
    /// The guest runs at the standby.
    var running: UInt64

    /// Milliseconds.
    var sinceLost: Double { Double(running - lost) / 1e6 }
    var sinceNoticed: Double { Double(running - noticed) / 1e6 }
}
