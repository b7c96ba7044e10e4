/// Numbers as the table has them.
package enum Figure {
    /// With `digits` places, rounded to the nearest.
    package static func text(_ value: Double, digits: Int) -> String {
        guard value.isFinite else { return "-" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = (value.magnitude * scale).rounded()
        guard scaled < 1e15 else { return "\(value)" }
        let whole = Int(scaled / scale)
        let rest = Int(scaled) - whole * Int(scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(whole)" }
        let fraction = String(rest)
        return "\(sign)\(whole).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
    }

    /// With about three digits that count.
    package static func text(_ value: Double) -> String {
        switch value.magnitude {
        case ..<10: text(value, digits: 2)
        case ..<100: text(value, digits: 1)
        default: text(value, digits: 0)
        }
    }

    /// The three percentiles in one cell.
    package static func text(_ figure: Percentiles) -> String {
        figure.samples == 1
            ? text(figure.p10)
            : [figure.p10, figure.p50, figure.p99].map { text($0) }.joined(separator: " / ")
    }
}
