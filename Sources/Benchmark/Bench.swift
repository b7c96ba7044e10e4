import Glibc
import SystemSupport

/// A benchmark that cannot go on: what failed, and what to do.
package struct BenchError: Error, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// What a run is asked for.
package struct BenchOptions: Sendable {
    /// Those to run; empty for all.
    package var measures: [MeasureID] = []
    /// The short form: fewer epochs.
    package var isShort = false
    /// The folder of the programs that stand beside ours (bench/*.c); what is not in it is left out.
    package var tools: String?

    package init() {}
}

/// One run: what measures have in common.
package final class Bench {
    package let options: BenchOptions
    package private(set) var report: BenchReport
    private let began = Clock.monotonic

    package init(_ options: BenchOptions) {
        self.options = options
        report = BenchReport(machine: .current(), isShort: options.isShort)
    }

    /// Epochs of each case: as many as percentiles want, or as ratios do.
    package func epochs(_ count: Int) -> Int { options.isShort ? max(20, count / 5) : count }

    /// Says on standard error where the run stands.
    package func say(_ text: String) {
        var line = "bench \(Figure.text(seconds, digits: 1)) s: \(text)\n"
        line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    /// The path of a program that stands beside ours; nil, and said of `measure`, if it was not built.
    func tool(_ name: String, for measure: MeasureID) -> String? {
        if let tools = options.tools, access("\(tools)/\(name)", X_OK) == 0 { return "\(tools)/\(name)" }
        let reason = "there is no \(name) beside it"
        if !report.missing.contains(.init(measure: measure, reason: reason)) { miss(measure, reason) }
        return nil
    }

    /// Notes that there is nothing of `measure`, or of a part of it.
    package func miss(_ measure: MeasureID, _ reason: String) {
        say("\(measure.rawValue): \(reason)")
        report.miss(measure, reason)
    }

    private var seconds: Double { Double(Clock.monotonic - began) / 1e9 }

    /// Runs what was asked for. A measure that fails is missing, and the others run.
    package func run() -> BenchReport {
        let wanted = options.measures.isEmpty ? MeasureID.allCases : options.measures
        for id in wanted {
            guard let measure = Measures.all.first(where: { $0.id == id }) else {
                miss(id, "this version does not measure it")
                continue
            }
            say("\(id.rawValue), \(id.title)")
            do {
                report.add(try measure.rows(self))
            } catch {
                miss(id, "\(error)")
            }
        }
        report.seconds = seconds
        return report
    }
}
