/// What a set of samples says, best first: a tenth of them is at least as good as `p10`, half as `p50`. Nearest rank, as
/// in remusd's own benchmark.
struct Quantiles {
    let p10: Double
    let p50: Double

    /// - Parameter samples: at least one.
    init(_ samples: [Double], moreIsBetter: Bool) {
        let sorted = moreIsBetter ? samples.sorted(by: >) : samples.sorted()
        func rank(_ percent: Int) -> Double { sorted[max(0, (sorted.count * percent + 99) / 100 - 1)] }
        (p10, p50) = (rank(10), rank(50))
    }
}

/// A number that is not negative, with so many digits after the point.
func fixed(_ value: Double, _ digits: Int) -> String {
    var scale = 1
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int((value * Double(scale)).rounded())
    guard digits > 0 else { return "\(scaled)" }
    let rest = "\(scaled % scale)"
    return "\(scaled / scale)." + String(repeating: "0", count: digits - rest.count) + rest
}

extension String {
    /// With blanks after it.
    func padded(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

    /// With blanks before it.
    func aligned(_ width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
