import Checkpoint
import Daemon
import SystemSupport

/// B10: what protection allocates once it runs, and the memory that it takes for each GiB of a guest.
struct FootprintMeasure: Measure {
    let id = MeasureID.b10

    /// Counts allocations (bench/allocations.c).
    private static let library = "allocations"
    /// The variable that says how many allocations of each side are told, with where they come from.
    private static let telling = "REMUSD_BENCH_TELL"
    private static let pages = 1024
    private static let warmUp = 200
    private static let gib = 1 << 18
    static let small = gib / 4

    private static let cases: [(link: LinkKind, encoding: EncodingChoice, hasBar: Bool)] = [
        // OpenSSL's allocations are its own.
        (.tcp, .plain, true), (.tls, .delta, false), (.tcp, .delta, true),
    ]

    func rows(_ bench: Bench) throws -> [Row] {
        guard let library = bench.tool(Self.library, for: id) else { return [] }
        let epochs = bench.epochs(1000)
        var rows: [Row] = []
        var large: Footprint?
        for each in Self.cases {
            bench.say("\(epochs) epochs, \(each.encoding.rawValue), over \(each.link.title)")
            let found = try Self.measure(library, each.link, each.encoding, Self.gib, epochs)
            let title = "\(epochs) epochs, \(each.encoding.rawValue), \(each.link.title)"
            rows += Self.allocations(title, found, hasBar: each.hasBar)
            if each.link == .tcp, each.encoding == .delta { large = found }
        }
        bench.say("a smaller guest")
        let small = try Self.measure(library, .tcp, .delta, Self.small, bench.epochs(200))
        guard let large else { return rows }
        return rows + Self.resident(large: large, small: small)
    }

    /// Has one pair measured, in processes of its own that begin with the counting library.
    private static func measure(
        _ library: String,
        _ link: LinkKind,
        _ encoding: EncodingChoice,
        _ guestPages: Int,
        _ epochs: Int
    ) throws -> Footprint {
        let folder = try TemporaryDirectory()
        // The counts lie in it.
        defer { withExtendedLifetime(folder) {} }
        let told = Paths.environment(telling).flatMap { Int($0) } ?? 0
        let kept = ChildProcess.environment.filter { !$0.hasPrefix("LD_PRELOAD=") }
        let process = try HelperProcess(
            "the pair",
            ChildProcess.ownPath,
            [BenchRole.word, FootprintRole.word, "\(Placement.here.primary)", link.rawValue, folder.path],
            environment: kept + ["LD_PRELOAD=\(library)", "\(AllocationCounter.variable)=\(folder.path)"]
        )
        defer { process.end() }
        let order = FootprintOrder(
            encoding: encoding.rawValue,
            guestPages: guestPages,
            pages: pages,
            warmUp: warmUp,
            epochs: epochs,
            told: told
        )
        try process.lines.say(String(decoding: ControlJSON.encode(order), as: UTF8.self))
        guard let line = try process.lines.hear(seconds: 600) else {
            throw BenchError("the pair whose footprint is looked at has ended")
        }
        return try ControlJSON.decode(Footprint.self, from: Array(line.utf8))
    }

    /// Of all epochs together: what comes to less than one an epoch is not none.
    static func allocations(_ title: String, _ found: Footprint, hasBar: Bool) -> [Row] {
        [("primary", found.primary), ("standby", found.standby)].map { name, side in
            Row(
                .b10,
                "allocations of the \(name) in \(title)",
                .count,
                Percentiles(only: Double(side.allocations)),
                bar: hasBar ? .value(.atMost, 0) : nil
            )
        }
    }

    /// Two guests tell what grows with a guest from what does not: the program itself, its buffers, an epoch's staging.
    /// - Parameters:
    ///   - large: of a guest of 1 GiB.
    ///   - small: of one of a quarter.
    static func resident(large: Footprint, small: Footprint) -> [Row] {
        let epoch = mebibytes(Staging.capacity(pages: pages, stateCapacity: ReadyState.size))
        let sides = [
            ("primary", "delta shadow, staging of an epoch", large.primary, small.primary),
            ("standby", "image, an epoch", large.standby, small.standby),
        ]
        return sides.flatMap { name, limit, large, small in
            let perGiB = mebibytes(large.resident - small.resident) * Double(gib) / Double(gib - Self.small)
            let rest = mebibytes(large.resident) - perGiB
            return [
                Row(
                    .b10,
                    "resident for each GiB of guest, \(name), delta",
                    .mebibytes,
                    Percentiles(only: perGiB),
                    beside: Beside(limit, Percentiles(only: 1024 + epoch)),
                    bar: .ratio(.atMost, 1)
                ),
                Row(
                    .b10,
                    "resident for any guest, \(name), delta",
                    .mebibytes,
                    Percentiles(only: rest)
                ),
            ]
        }
    }

    private static func mebibytes(_ bytes: Int) -> Double { Double(bytes) / Double(1 << 20) }
}
