import Checkpoint

/// What one round showed. The JSON of `remusd demo --output json`, schema remusd.demo/1, holds one of these a round.
package struct DemoRound: Codable, Equatable, Sendable {
    package var round: Int
    package var seed: UInt64
    /// Epochs committed until the primary was lost.
    package var epochs: UInt64 = 0
    package var pause: GuestStatus.Pause?
    /// Of an epoch.
    package var dirtyPagesP50: UInt64?
    package var outputLatencyUs: GuestStatus.OutputLatency?
    package var dirtyTracking: String?
    /// From SIGKILL to the first answer of the activated guest on a new connection, `remusd activate` included.
    package var firstAnswerMs: UInt64?
    package var acknowledgedSets = 0
    package var acknowledgedIncrements = 0
    /// Of both, those acknowledged before the primary was lost.
    package var acknowledgedBeforeLoss = 0
    /// What was seen to be as promised, in words.
    package var seen: [String] = []
    package var lost = 0
    /// What was not as promised, besides losses.
    package var problems: [String] = []

    package init(round: Int, seed: UInt64) {
        self.round = round
        self.seed = seed
    }

    package enum CodingKeys: String, CodingKey {
        case round, seed, epochs, pause
        case dirtyPagesP50 = "dirty_pages_p50"
        case outputLatencyUs = "output_latency_us"
        case dirtyTracking = "dirty_tracking"
        case firstAnswerMs = "first_answer_ms"
        case acknowledgedSets = "acknowledged_sets"
        case acknowledgedIncrements = "acknowledged_increments"
        case acknowledgedBeforeLoss = "acknowledged_before_loss"
        case seen, lost, problems
    }

    /// Takes over what the primary measured.
    mutating func note(_ status: GuestStatus?) {
        guard let status else { return }
        epochs = status.epoch.committed ?? 0
        pause = status.pause
        dirtyPagesP50 = status.pages?.dirtyP50
        outputLatencyUs = status.outputLatencyUs
        dirtyTracking = status.dirtyTracking
    }
}

/// What a demo showed.
package struct DemoReport: Codable, Equatable, Sendable {
    /// `remusd.demo/1`
    package var schema = "remusd.demo/1"
    package var kill: DemoKill
    package var seed: UInt64
    package var intervalMs: UInt64
    package var memoryBytes: UInt64
    package var connections: Int
    package var rounds: [DemoRound] = []
    /// Acknowledged writes that are gone, over all rounds.
    package var lost: Int { rounds.reduce(0) { $0 + $1.lost } }
    /// Whether all of it was as promised.
    package var isGood: Bool { rounds.allSatisfy { $0.lost == 0 && $0.problems.isEmpty } }

    package init(_ options: DemoOptions) {
        kill = options.kill
        seed = options.seed
        intervalMs = options.interval.milliseconds
        memoryBytes = options.memory.bytes
        connections = options.connections
    }

    package enum CodingKeys: String, CodingKey {
        case schema, kill, seed
        case intervalMs = "interval_ms"
        case memoryBytes = "memory_bytes"
        case connections, rounds, lost
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        schema = try values.decode(String.self, forKey: .schema)
        kill = try values.decode(DemoKill.self, forKey: .kill)
        seed = try values.decode(UInt64.self, forKey: .seed)
        intervalMs = try values.decode(UInt64.self, forKey: .intervalMs)
        memoryBytes = try values.decode(UInt64.self, forKey: .memoryBytes)
        connections = try values.decode(Int.self, forKey: .connections)
        rounds = try values.decode([DemoRound].self, forKey: .rounds)
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(schema, forKey: .schema)
        try values.encode(kill, forKey: .kill)
        try values.encode(seed, forKey: .seed)
        try values.encode(intervalMs, forKey: .intervalMs)
        try values.encode(memoryBytes, forKey: .memoryBytes)
        try values.encode(connections, forKey: .connections)
        try values.encode(rounds, forKey: .rounds)
        try values.encode(lost, forKey: .lost)
    }

    /// The report as people read it; its last line is `lost N`.
    package var text: String {
        var lines = [
            "remusd demo --kill \(kill.rawValue) --rounds \(rounds.count) --seed \(seed)", "  \(kill.story)",
        ]
        func line(_ name: String, _ value: String?) {
            guard let value else { return }
            lines.append("  " + name + String(repeating: " ", count: max(1, 22 - name.count)) + value)
        }
        let tracking = Set(rounds.compactMap(\.dirtyTracking)).sorted().joined(separator: ", ")
        line(
            "epochs",
            "\(rounds.reduce(0) { $0 + $1.epochs }), one every \(TimeSpan.milliseconds(intervalMs).rounded)"
        )
        line("pause", percentiles(rounds.compactMap(\.pause).map { ($0.p50, $0.p99) }))
        line(
            "dirty pages",
            Self.median(rounds.compactMap(\.dirtyPagesP50)).map { "p50 \($0), found by \(tracking)" }
        )
        line("output latency", percentiles(rounds.compactMap(\.outputLatencyUs).map { ($0.p50, $0.p99) }))
        let answers = rounds.compactMap(\.firstAnswerMs)
        line(
            "kill to first answer",
            Self.median(answers).map { middle in
                let worst = TimeSpan.milliseconds(answers.max() ?? middle).rounded
                return TimeSpan.milliseconds(middle).rounded + (answers.count > 1 ? ", longest \(worst)" : "")
            }
        )
        let (sets, increments) = (
            rounds.reduce(0) { $0 + $1.acknowledgedSets }, rounds.reduce(0) { $0 + $1.acknowledgedIncrements }
        )
        let before = rounds.reduce(0) { $0 + $1.acknowledgedBeforeLoss }
        line(
            "writes acknowledged",
            "\(sets + increments) on \(connections) connections, \(before) before the loss"
        )
        line("all checked", "\(sets) SET, \(increments) INCR")
        var seen: [String] = []
        for text in rounds.flatMap(\.seen) where !seen.contains(text) { seen.append(text) }
        for text in seen { line("seen", text) }
        for round in rounds {
            for problem in round.problems { line("PROBLEM", "round \(round.round): \(problem)") }
        }
        return lines.joined(separator: "\n") + "\nlost \(lost)\n"
    }

    /// The middle round's median, and the worst round's 99th percentile.
    private func percentiles(_ pairs: [(p50: UInt64, p99: UInt64)]) -> String? {
        guard let p50 = Self.median(pairs.map(\.p50)), let p99 = pairs.map(\.p99).max() else { return nil }
        return "p50 \(TimeSpan.microseconds(p50).rounded), p99 \(TimeSpan.microseconds(p99).rounded)"
    }

    static func median(_ values: [UInt64]) -> UInt64? {
        values.isEmpty ? nil : values.sorted()[values.count / 2]
    }
}
