/// How much of an interface's output may be held.
package enum HoldLimit {
    /// What an interface without a limit of its own is taken to send, in bytes a second: 10 Gbit/s.
    package static let rate: UInt64 = 1_250_000_000
    /// The least, and the most, in bytes. The most is what it may cost the host in the worst case, and several times that if all packets
    /// are small: a plug counts bytes of packets, not of memory.
    package static let least = 4 << 20, most = 64 << 20

    /// Twice what may be there at once, which is the epoch that waits for its acknowledgement and the one that runs: so a plug that
    /// is half full is one that epochs are too long for.
    /// - Parameters:
    ///   - rate: bytes a second; nil where nothing limits it.
    ///   - interval: from one cut to the next, in nanoseconds.
    package static func bytes(rate: UInt64?, interval: UInt64) -> Int {
        let inEpoch = Double(rate ?? Self.rate) * Double(interval) / 1e9
        return Int(min(max(4 * inEpoch, Double(least)), Double(most)))
    }
}
