/// What a set of samples says, best first: a tenth of them is at least as good as `p10`, half as `p50`, all but one of a
/// hundred as `p99`. Good is small for times, and large for rates (`Unit.moreIsBetter`).
///
/// Nearest rank: each is one of the samples, none is made up between two.
package struct Percentiles: Codable, Equatable, Sendable {
    package let samples: Int
    package let p10: Double, p50: Double, p99: Double

    /// Nil without a sample.
    package init?(_ samples: [Double], in unit: Unit) {
        guard !samples.isEmpty else { return nil }
        let sorted = unit.moreIsBetter ? samples.sorted(by: >) : samples.sorted()
        func rank(_ percent: Int) -> Double { sorted[max(0, (sorted.count * percent + 99) / 100 - 1)] }
        self.samples = samples.count
        (p10, p50, p99) = (rank(10), rank(50), rank(99))
    }

    /// One figure that was not sampled.
    package init(only value: Double) {
        samples = 1
        (p10, p50, p99) = (value, value, value)
    }
}
