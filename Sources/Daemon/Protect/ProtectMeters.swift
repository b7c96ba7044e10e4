import Checkpoint
import Histogram

/// What a protection measures. Recording allocates nothing.
package struct ProtectMeters: Sendable {
    private static let longest: UInt64 = 60_000_000

    /// From the suspend to the resume, in microseconds.
    package private(set) var pause = Histogram<UInt64>(highestTrackableValue: Self.longest)
    /// From the cut to its release, in microseconds: how long the last byte of an epoch waited.
    package private(set) var commit = Histogram<UInt64>(highestTrackableValue: Self.longest)
    /// From the previous cut to the release, in microseconds: how long the first byte of an epoch waited at most.
    package private(set) var outputLatency = Histogram<UInt64>(highestTrackableValue: Self.longest)
    /// Pages of an epoch.
    package private(set) var dirtyPages = Histogram<UInt64>(highestTrackableValue: 1 << 32)
    package private(set) var lastPause: UInt64 = 0
    package var lastDirty = 0
    package var pagesSent = 0
    /// Bytes of the stream that went to the standby, and what they were on the wire.
    package private(set) var streamBytes: UInt64 = 0, wireBytes: UInt64 = 0
    package var epochs = 0
    package var abandoned = 0

    package init() {}

    package mutating func recordPause(_ span: TimeSpan) {
        lastPause = span.nanoseconds / 1000
        _ = pause.record(min(lastPause, Self.longest))
    }

    package mutating func recordCommit(_ span: TimeSpan, latency: TimeSpan) {
        _ = commit.record(min(span.nanoseconds / 1000, Self.longest))
        _ = outputLatency.record(min(latency.nanoseconds / 1000, Self.longest))
    }

    package mutating func recordSent(stream: UInt64, wire: UInt64) {
        streamBytes &+= stream
        wireBytes &+= wire
    }

    package mutating func recordEpoch(pages: Int) {
        lastDirty = pages
        epochs += 1
        _ = dirtyPages.record(UInt64(pages))
    }
}
