/// What an output buffer holds, and what it could not hold; nil where nobody counts.
package struct HeldOutput: Equatable, Sendable {
    package var bytes: Int
    package var packets: Int?
    /// Packets dropped since the protection began: it was full, or their interface went.
    package var dropped: UInt64?
    /// How full the fullest interface's part is, of what it may hold.
    package var fillPercent: Int?

    package init(bytes: Int = 0, packets: Int? = nil, dropped: UInt64? = nil, fillPercent: Int? = nil) {
        self.bytes = bytes
        self.packets = packets
        self.dropped = dropped
        self.fillPercent = fillPercent
    }
}
