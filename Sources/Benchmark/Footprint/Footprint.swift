import Daemon

/// What a pair is to do while its footprint is looked at.
struct FootprintOrder: Codable, Equatable, Sendable {
    /// `EncodingChoice`
    var encoding: String
    /// Of the guest, each of which holds something.
    var guestPages: Int
    /// Written in each epoch.
    var pages: Int
    /// Epochs before those that count.
    var warmUp: Int
    /// Epochs that count.
    var epochs: Int
    /// Allocations of each side that are told on standard error.
    var told = 0
}

/// What both sides of a pair took.
struct Footprint: Codable, Equatable, Sendable {
    struct Side: Codable, Equatable, Sendable {
        /// In the epochs that count, all of them together: calls, and the bytes that they asked for.
        var allocations: UInt64, allocatedBytes: UInt64
        /// Bytes in memory after the last epoch: without the guest's own, which is the primary's process's here.
        var resident: Int
    }

    var primary: Side, standby: Side
}
