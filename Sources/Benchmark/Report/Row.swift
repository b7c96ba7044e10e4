/// What a figure is to reach.
package struct Bar: Codable, Equatable, Sendable {
    package enum Direction: String, Codable, Sendable {
        case atMost = "at most"
        case atLeast = "at least"
    }

    /// What is held against it: the ratio to what stands beside ours, or our own figure.
    package enum Subject: String, Codable, Sendable {
        case ratio, value
    }

    package let direction: Direction
    package let limit: Double
    package let subject: Subject

    /// At most, or at least, `limit` times what stands beside ours.
    package static func ratio(_ direction: Direction, _ limit: Double) -> Bar {
        Bar(direction: direction, limit: limit, subject: .ratio)
    }

    /// At most, or at least, `limit` of the row's unit.
    package static func value(_ direction: Direction, _ limit: Double) -> Bar {
        Bar(direction: direction, limit: limit, subject: .value)
    }

    /// - Parameter slack: so many times as far as the limit is near enough.
    func isMet(by figure: Double, slack: Double = 1) -> Bool {
        switch direction {
        case .atMost: figure <= limit * slack
        case .atLeast: figure >= limit / slack
        }
    }
}

/// What became of a bar. A row without one is only reported.
package enum Verdict: String, Codable, Sendable {
    case met
    case notMet = "not met"
    /// What the bar goes by could not be had.
    case notRun = "not run"
    case reported
}

/// Something that was measured beside ours, in the same run.
package struct Beside: Codable, Equatable, Sendable {
    /// Who: a peer, or a limit of the machine.
    package let name: String
    package let figure: Percentiles

    package init(_ name: String, _ figure: Percentiles) {
        self.name = name
        self.figure = figure
    }
}

/// One line of the table: a figure of ours, in one case, beside one other.
package struct Row: Codable, Equatable, Sendable {
    package let measure: MeasureID
    /// What was measured, under which conditions.
    package let title: String
    package let unit: Unit
    package let ours: Percentiles
    package let beside: Beside?
    /// Ours over the other's, both at p10; nil where nothing stands beside it.
    package let ratio: Double?
    package let bar: Bar?
    package let verdict: Verdict

    /// A row, judged: a bar without the figures it wants is not run.
    package init(
        _ measure: MeasureID,
        _ title: String,
        _ unit: Unit,
        _ ours: Percentiles,
        beside: Beside? = nil,
        bar: Bar? = nil
    ) {
        self.measure = measure
        self.title = title
        self.unit = unit
        self.ours = ours
        self.beside = beside
        self.bar = bar
        ratio = beside.flatMap { $0.figure.p10 > 0 ? ours.p10 / $0.figure.p10 : nil }
        guard let bar else {
            verdict = .reported
            return
        }
        let subject = bar.subject == .ratio ? ratio : ours.p10
        verdict = subject.map { bar.isMet(by: $0) ? .met : .notMet } ?? .notRun
    }
}
