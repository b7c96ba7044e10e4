/// A point on a clock that never goes back, in nanoseconds. The heart never reads a clock: it is told.
package struct Instant: Comparable, Hashable, Sendable, CustomStringConvertible {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
    package static func + (a: Instant, b: TimeSpan) -> Instant {
        Instant(nanoseconds: a.nanoseconds &+ b.nanoseconds)
    }
    /// The time from `b` to `a`; zero if `a` is earlier.
    package static func - (a: Instant, b: Instant) -> TimeSpan {
        TimeSpan(nanoseconds: a.nanoseconds > b.nanoseconds ? a.nanoseconds - b.nanoseconds : 0)
    }

    package var description: String { "\(TimeSpan(nanoseconds: nanoseconds))" }
}

/// A length of time, in nanoseconds. Never negative.
package struct TimeSpan: Comparable, Hashable, Sendable, CustomStringConvertible {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static func microseconds(_ n: UInt64) -> TimeSpan { TimeSpan(nanoseconds: n * 1_000) }
    package static func milliseconds(_ n: UInt64) -> TimeSpan { TimeSpan(nanoseconds: n * 1_000_000) }
    package static func seconds(_ n: UInt64) -> TimeSpan { TimeSpan(nanoseconds: n * 1_000_000_000) }

    package var milliseconds: UInt64 { nanoseconds / 1_000_000 }

    package static func < (a: TimeSpan, b: TimeSpan) -> Bool { a.nanoseconds < b.nanoseconds }
    package static func + (a: TimeSpan, b: TimeSpan) -> TimeSpan {
        TimeSpan(nanoseconds: a.nanoseconds &+ b.nanoseconds)
    }
    /// This much of the span, in hundredths.
    package func percent(_ share: UInt64) -> TimeSpan { TimeSpan(nanoseconds: nanoseconds / 100 * share) }

    /// `250us`, `50ms`, `2s`: the largest unit that shows it whole.
    package var description: String {
        for (unit, name) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] as [(UInt64, String)] {
            if nanoseconds % unit == 0 { return "\(nanoseconds / unit)\(name)" }
        }
        return "\(nanoseconds)ns"
    }
}
