import Glibc
import SystemSupport

/// Times of day for people, in RFC 3339, UTC: `2026-11-23T09:04:00Z`. Never for decisions.
package enum Timestamp {
    /// The time of day now.
    package static var now: String { text(seconds: Int(Clock.wall / 1_000_000_000)) }

    /// The time of day now, to the millisecond: `2026-11-23T09:04:00.042Z`.
    package static var nowPrecise: String {
        let now = Clock.wall
        let fraction = String(now / 1_000_000 % 1000)
        let padded = String(repeating: "0", count: 3 - fraction.count) + fraction
        return text(seconds: Int(now / 1_000_000_000)).dropLast() + ".\(padded)Z"
    }

    /// A time of day, in seconds since 1970.
    package static func text(seconds: Int) -> String {
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
    }
}
