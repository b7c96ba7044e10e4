import Checkpoint
import SystemSupport

/// B6: how long a guest is away when its primary is lost, and whether what runs then is one committed epoch, wherever the stream
/// ended.
struct FailoverMeasure: Measure {
    let id = MeasureID.b6

    static let program = "remusd"
    /// Milliseconds that an activation may take.
    private static let allowance = 20.0
    /// That silence takes to be a loss.
    private static let detection = Double(ProtectSettings.suspectAfter(FailoverStage.aloneAfter).milliseconds)
    /// Cuts at least.
    static let cuts = 500
    /// Records of an epoch of an embedded guest: a page list, three of state, and its end in both layers. Each is a cut, and so
    /// are where the epoch begins, and where it is whole.
    private static let cutsPerEpoch = 8

    func rows(_ bench: Bench) throws -> [Row] {
        guard let program = bench.tool(Self.program, for: id) else { return [] }
        var rows: [Row] = []
        // One that cannot be had takes nothing from the others.
        for loss in FailoverLoss.allCases {
            do { rows += try losses(loss, program, bench) } catch { bench.miss(id, "\(error)") }
        }
        do { rows.append(try cuts(program, bench)) } catch { bench.miss(id, "\(error)") }
        return rows
    }

    /// A pair of its own for each.
    private func losses(_ loss: FailoverLoss, _ program: String, _ bench: Bench) throws -> [Row] {
        let count = bench.options.isShort ? 5 : 20
        bench.say("\(count) primaries are lost by \(loss.rawValue)")
        var samples: [FailoverSample] = []
        for number in 0..<count {
            // Anywhere between two checkpoints.
            let moment = 200 + number * 7 % 25
            let words = try Self.order("lose \(loss.rawValue) \(moment)", "sample", program)
            guard words.count == 3 else { throw BenchError("a failover said \(words)") }
            samples.append(FailoverSample(lost: words[0], noticed: words[1], running: words[2]))
        }
        return Self.rows(loss, samples)
    }

    private func cuts(_ program: String, _ bench: Bench) throws -> Row {
        let epochs = (Self.cuts + Self.cutsPerEpoch - 1) / Self.cutsPerEpoch + 10
        bench.say("a stream of \(epochs) epochs is cut")
        let words = try Self.order("cut \(epochs)", "cuts", program)
        guard words.count == 2 else { throw BenchError("the cuts said \(words)") }
        guard words[0] >= Self.cuts else {
            throw BenchError(
                "the stream had records for \(words[0]) cuts only, where \(Self.cuts) are wanted"
            )
        }
        return Self.row(cuts: Int(words[0]), wrong: Int(words[1]))
    }

    /// Has one thing done by a process that takes everything with it.
    private static func order(_ order: String, _ answer: String, _ program: String) throws -> [UInt64] {
        let directory = try TemporaryDirectory()
        let process = try HelperProcess(
            "the failover",
            ChildProcess.ownPath,
            [BenchRole.word, FailoverRole.word, program, directory.path]
        )
        defer { process.end() }
        _ = try process.lines.hear("ready", seconds: 30)
        try process.lines.say(order)
        return try process.lines.hear(answer, seconds: 300).compactMap { UInt64($0) }
    }

    // MARK: What is made of it

    static func rows(_ loss: FailoverLoss, _ samples: [FailoverSample]) -> [Row] {
        let unit = Unit.milliseconds
        guard let noticed = Percentiles(samples.map(\.sinceNoticed), in: unit),
            let lost = Percentiles(samples.map(\.sinceLost), in: unit)
        else { return [] }
        switch loss {
        case .reset:
            return [
                Row(
                    .b6,
                    "runs after the connection's end is told",
                    unit,
                    noticed,
                    bar: .value(.atMost, allowance)
                ),
                Row(.b6, "runs after SIGKILL", unit, lost),
            ]
        case .silence:
            let bar = Bar.value(.atMost, detection + allowance)
            return [
                Row(.b6, "runs after the primary's last word", unit, noticed, bar: bar),
                Row(.b6, "runs after SIGSTOP", unit, lost),
            ]
        }
    }

    static func row(cuts: Int, wrong: Int) -> Row {
        let figure = Percentiles(only: Double(wrong))
        return Row(
            .b6,
            "\(cuts) cuts between records, not consistent",
            .count,
            figure,
            bar: .value(.atMost, 0)
        )
    }
}
