/// One epoch's moments, in nanoseconds of the boot clock.
package struct EpochSample: Equatable, Sendable {
    /// The guest stands still.
    package var suspended: UInt64 = 0
    package var cut: UInt64 = 0
    /// It runs again.
    package var resumed: UInt64 = 0
    /// The standby has acknowledged the epoch: its output goes.
    package var acknowledged: UInt64 = 0

    /// Microseconds that the guest stood still.
    package var pause: Double { Double(resumed - suspended) / 1000 }
    /// Microseconds from the suspend to the acknowledgement.
    package var commit: Double { Double(acknowledged - suspended) / 1000 }
}

/// What a guest is to do next.
package struct EpochOrder: Equatable, Sendable {
    /// Written in each epoch.
    package var pages: Int
    package var epochs: Int
    package var seed: UInt64
    /// That an epoch goes on after the writing, in microseconds.
    package var rest: UInt32
    /// The guest goes on writing at this rate, `pages` in so many microseconds, while it is swept; 0: it does not.
    package var spread: UInt32

    package init(pages: Int, epochs: Int, seed: UInt64, rest: UInt32 = 2000, spread: UInt32 = 0) {
        self.pages = pages
        self.epochs = epochs
        self.seed = seed
        self.rest = rest
        self.spread = spread
    }
}
