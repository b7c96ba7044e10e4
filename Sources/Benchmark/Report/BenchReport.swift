import Daemon

/// A run's result: one JSON document, or a table.
package struct BenchReport: Codable, Equatable, Sendable {
    /// A measure, or a part of one, that there is nothing of.
    package struct Missing: Codable, Equatable, Sendable {
        package let measure: MeasureID
        package let reason: String
    }

    package struct Tally: Codable, Equatable, Sendable {
        package var met = 0, notMet = 0, notRun = 0, reported = 0
    }

    package var version = BuildVersion.text
    package var machine: MachineDescription
    /// The short form: few epochs, for ratios only.
    package var isShort: Bool
    package var rows: [Row] = []
    package var missing: [Missing] = []
    package var tally = Tally()
    package var seconds = 0.0

    package init(machine: MachineDescription, isShort: Bool) {
        self.machine = machine
        self.isShort = isShort
    }

    /// Takes a measure's rows in.
    package mutating func add(_ rows: [Row]) {
        self.rows += rows
        for row in rows {
            switch row.verdict {
            case .met: tally.met += 1
            case .notMet: tally.notMet += 1
            case .notRun: tally.notRun += 1
            case .reported: tally.reported += 1
            }
        }
    }

    /// Says what there is nothing of.
    package mutating func miss(_ measure: MeasureID, _ reason: String) {
        missing.append(Missing(measure: measure, reason: reason))
    }

    /// The table, and what it was made on.
    package var text: String {
        let gib = Double(machine.memoryBytes) / Double(1 << 30)
        var text =
            "remusd \(version), \(machine.date)\n"
            + "\(machine.processor), \(machine.processors) processors, \(Figure.text(gib, digits: 0)) GiB, "
            + "Linux \(machine.kernel), huge pages \(machine.hugePages), load \(Figure.text(machine.load, digits: 2))\n"
        if isShort { text += "The short form: look at the ratios only.\n" }
        if !rows.isEmpty {
            text += "\n"
            text += TextTable.text(
                header: [
                    "", "measure", "unit", "ours p10 / p50 / p99", "beside", "p10 / p50 / p99", "ratio",
                    "bar", "",
                ],
                rows: rows.map { $0.cells }
            )
        }
        for missing in missing { text += "\n\(missing.measure.rawValue) is missing: \(missing.reason)" }
        if !missing.isEmpty { text += "\n" }
        let notRun = tally.notRun > 0 ? "\(tally.notRun) not run, " : ""
        return text + "\n\(tally.met) met, \(tally.notMet) not met, \(notRun)\(tally.reported) reported, "
            + "\(Figure.text(seconds, digits: 0)) s\n"
    }
}

extension Row {
    /// As the table has it.
    var cells: [String] {
        let wanted = bar.map { bar in
            let times = bar.subject == .ratio ? " x" : ""
            return "\(bar.direction.rawValue) \(Figure.text(bar.limit))\(times)"
        }
        return [
            measure.rawValue, title, unit.rawValue, Figure.text(ours), beside?.name ?? "",
            beside.map { Figure.text($0.figure) } ?? "", ratio.map { Figure.text($0) } ?? "", wanted ?? "",
            verdict.rawValue,
        ]
    }
}
