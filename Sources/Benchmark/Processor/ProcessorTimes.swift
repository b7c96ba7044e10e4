/// What a checkpoint takes of processors, in the mean over those of an order: microseconds.
struct ProcessorTimes: Equatable, Sendable {
    /// The primary's process, without what the guest does.
    let primary: Double
    /// The standby's process.
    let standby: Double

    /// - Parameters:
    ///   - primary: nanoseconds, from the first epoch's acknowledgement to the last's.
    ///   - standby: nanoseconds, of all epochs.
    ///   - epochs: two at least.
    init(primary: UInt64, standby: UInt64, epochs: Int) {
        self.primary = Double(primary) / 1000 / Double(max(1, epochs - 1))
        self.standby = Double(standby) / 1000 / Double(max(1, epochs))
    }
}
