/// What a change that made something much slower would show, on any machine: a ratio far from its bar, twice. Figures alone are
/// never looked at.
package struct RatioGuard: Sendable {
    /// Half as much again as the bar is far: the short form's ratios swing with what else the machine does.
    private static let slack = 1.5

    /// Rows whose ratio is far from its bar, or could not be had at all.
    package let farOff: [Row]
    /// The others that have a bar.
    private let near: [Row]

    package init(_ report: BenchReport) {
        let rows = report.rows.filter { $0.bar?.subject == .ratio }
        farOff = rows.filter { Self.isFarOff($0) }
        near = rows.filter { !Self.isFarOff($0) }
    }

    /// How many have a bar.
    package var looked: Int { farOff.count + near.count }

    private static func isFarOff(_ row: Row) -> Bool {
        guard let bar = row.bar, let ratio = row.ratio else { return true }
        return !bar.isMet(by: ratio, slack: slack)
    }

    /// The measures to run again.
    package var measures: [MeasureID] {
        MeasureID.allCases.filter { id in farOff.contains { $0.measure == id } }
    }

    /// Those that are not near their bar in `again`, where they may be missing: it is no moment's disturbance.
    package func confirmed(by again: RatioGuard) -> [Row] {
        farOff.filter { row in
            !again.near.contains {
                ($0.measure, $0.title, $0.beside?.name) == (row.measure, row.title, row.beside?.name)
            }
        }
    }
}
