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

    /// The last second of a day `YYYY-MM-DD`, in seconds since 1970; nil for what is no day.
    package static func endOfDay(_ text: String) -> Int64? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.count) == [4, 2, 2], let year = WholeNumber.parse(parts[0]),
            let month = WholeNumber.parse(parts[1]), let day = WholeNumber.parse(parts[2]), year >= 1970
        else { return nil }
        var fields = tm()
        fields.tm_year = Int32(year) - 1900
        fields.tm_mon = Int32(month) - 1
        fields.tm_mday = Int32(day)
        (fields.tm_hour, fields.tm_min, fields.tm_sec) = (23, 59, 59)
        let seconds = timegm(&fields)
        // timegm(3) makes 1 March of 30 February: a day that changed was none.
        return fields.tm_mday == Int32(day) && fields.tm_mon == Int32(month) - 1 ? Int64(seconds) : nil
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
