import Checkpoint

extension TimeSpan {
    private static let units: [(name: String, nanoseconds: UInt64)] = [
        ("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("min", 60_000_000_000),
        ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ]

    /// Parses a whole number with its unit: `250us`, `50ms`, `2s`, `1m`, `1h`. `0` alone is zero.
    /// - Throws: `ValueError`, which says what a right one looks like.
    package init(parsing text: String) throws(ValueError) {
        let refusal = ValueError(kind: "time", text: text, rightForm: "write it like 50ms, 2s, 250us or 1m")
        let digits = text.prefix { $0.isNumber }
        let unit = text[digits.endIndex...]
        guard let count = WholeNumber.parse(digits) else { throw refusal }
        if count == 0, unit.isEmpty {
            self.init(nanoseconds: 0)
            return
        }
        guard let scale = Self.units.first(where: { $0.name == unit })?.nanoseconds else { throw refusal }
        let (product, overflow) = count.multipliedReportingOverflow(by: scale)
        guard !overflow else { throw refusal }
        self.init(nanoseconds: product)
    }

    /// For people: two figures that matter, `38ms`, `2.1s`, `4m10s`, `3h5m`.
    package var rounded: String {
        let (us, ms, s) = (nanoseconds / 1_000, nanoseconds / 1_000_000, nanoseconds / 1_000_000_000)
        switch nanoseconds {
        case ..<1_000: return "\(nanoseconds)ns"
        case ..<10_000_000 where us % 1000 >= 100 && ms > 0: return "\(ms).\(us % 1000 / 100)ms"
        case ..<1_000_000: return "\(us)us"
        case ..<1_000_000_000: return "\(ms)ms"
        case ..<10_000_000_000 where ms % 1000 >= 100: return "\(s).\(ms % 1000 / 100)s"
        case ..<60_000_000_000: return "\(s)s"
        case ..<3_600_000_000_000: return s % 60 == 0 ? "\(s / 60)m" : "\(s / 60)m\(s % 60)s"
        default: return s / 60 % 60 == 0 ? "\(s / 3600)h" : "\(s / 3600)h\(s / 60 % 60)m"
        }
    }
}
