import Checkpoint

/// B8: how many checkpoints a second there can be without an end, and how much of the time the guest runs.
struct RateMeasure: Measure {
    let id = MeasureID.b8

    private static let cases: [(pages: Int, least: Double)] = [(256, 1000), (1024, 300)]

    func rows(_ bench: Bench) throws -> [Row] {
        try rates(bench) + [share(bench)].compactMap { $0 }
    }

    /// As fast as acks come; what the guest takes to write its pages is part of an epoch.
    private func rates(_ bench: Bench) throws -> [Row] {
        let pair = try EnginePair(.tcp, interval: .microseconds(1))
        defer { pair.end() }
        var rows: [Row] = []
        for each in Self.cases {
            bench.say("\(each.pages) pages, without a rest")
            var rates: [Double] = []
            for turn in 0..<10 {
                let epochs = bench.epochs(200)
                let order = EpochOrder(pages: each.pages, epochs: epochs, seed: 41 + UInt64(turn), rest: 0)
                let samples = try pair.play(order)
                guard let first = samples.first, let last = samples.last, epochs > 1 else { continue }
                rates.append(Double(epochs - 1) / (Double(last.acknowledged - first.acknowledged) / 1e9))
            }
            try pair.checkImage()
            guard let rate = Percentiles(rates, in: .checkpointsPerSecond) else { continue }
            rows.append(
                Row(
                    id,
                    "\(each.pages) pages, TCP loopback",
                    .checkpointsPerSecond,
                    rate,
                    bar: .value(.atLeast, each.least)
                )
            )
        }
        return rows
    }

    /// Of the time, how much the guest runs.
    private func share(_ bench: Bench) throws -> Row? {
        bench.say("1024 pages every 25 ms")
        let pair = try EnginePair(.tcp, interval: .milliseconds(25))
        defer { pair.end() }
        let samples = try pair.play(EpochOrder(pages: 1024, epochs: bench.epochs(200), seed: 51, rest: 0))
        try pair.checkImage()
        return Self.share(samples)
    }

    /// Over all epochs together: one long pause counts as what it is.
    static func share(_ samples: [EpochSample]) -> Row? {
        guard let first = samples.first, let last = samples.last, last.suspended > first.suspended else {
            return nil
        }
        let stood = samples.dropLast().map { $0.resumed - $0.suspended }.reduce(0, +)
        let ran = 100 * (1 - Double(stood) / Double(last.suspended - first.suspended))
        return Row(
            .b8,
            "the guest runs, 1024 pages every 25 ms",
            .percent,
            Percentiles(only: ran),
            bar: .value(.atLeast, 98)
        )
    }
}
