import Checkpoint

/// B5: how long output waits for its release, with nothing in its way but the engine.
struct LatencyMeasure: Measure {
    let id = MeasureID.b5

    private static let intervals: [UInt64] = [10, 25, 50, 100]
    private static let pages = [256, 1024]
    /// What the engine may add to the commit, microseconds.
    private static let allowance = 200.0

    func rows(_ bench: Bench) throws -> [Row] {
        var rows: [Row] = []
        for interval in Self.intervals {
            bench.say("an interval of \(interval) ms")
            let pair = try EnginePair(.unix, interval: .milliseconds(interval))
            defer { pair.end() }
            for pages in Self.pages {
                let epochs = bench.epochs(interval <= 25 ? 200 : 100)
                let order = EpochOrder(pages: pages, epochs: epochs, seed: 31, rest: 0)
                let samples = try pair.play(order)
                try pair.checkImage()
                rows += Self.rows(
                    "\(pages) pages, every \(interval) ms",
                    samples,
                    interval: Double(interval) * 1000
                )
            }
        }
        return rows
    }

    /// Bars are about means: output comes at any time, and half of the interval is a mean.
    static func rows(_ title: String, _ samples: [EpochSample], interval: Double) -> [Row] {
        let waits = OutputWaits(samples)
        guard let all = Percentiles(waits.packets, in: .microseconds), samples.count > 1 else { return [] }
        let added = waits.mean - interval / 2
        let commit = samples.dropFirst().map(\.commit).reduce(0, +) / Double(samples.count - 1)
        return [
            Row(.b5, "\(title), a packet's wait", .microseconds, all),
            Row(
                .b5,
                "\(title), mean wait less T/2 and commit",
                .microseconds,
                Percentiles(only: added - commit),
                bar: .value(.atMost, allowance)
            ),
        ]
    }
}

/// How long packets wait that a guest sends at an even pace, whenever it runs: each until the epoch it was sent in is
/// acknowledged.
struct OutputWaits {
    /// Between two packets, nanoseconds.
    private static let pace: UInt64 = 100_000

    /// Microseconds.
    private(set) var packets: [Double] = []

    var mean: Double { packets.isEmpty ? 0 : packets.reduce(0, +) / Double(packets.count) }

    /// - Parameter samples: of epochs that followed each other.
    init(_ samples: [EpochSample]) {
        for (before, epoch) in zip(samples, samples.dropFirst()) {
            var sent = before.resumed
            while sent < epoch.suspended {
                packets.append(Double(epoch.acknowledged - sent) / 1000)
                sent += Self.pace
            }
        }
    }
}
