import SystemSupport

/// Xen's own checkpoint loop on a guest like ours (bench/libxenguest-peer.c).
final class PeerPair {
    /// For the table.
    static let name = "libxenguest 4.17"
    static let program = "libxenguest-peer"

    private let process: HelperProcess
    /// What the newest order took of processors.
    private(set) var processor: ProcessorTimes?

    /// Starts it, and returns once its first checkpoint is acknowledged.
    init(_ program: String, _ link: LinkKind, pages: Int, filled: Int, _ placement: Placement) throws {
        process = try HelperProcess(
            Self.name,
            program,
            [link.rawValue, "\(pages)", "\(filled)", "\(placement.primary)", "\(placement.standby)"]
        )
        _ = try process.lines.hear("ready", seconds: 120)
    }

    deinit { end() }

    /// Plays some epochs: what its guest writes is what ours writes at the same order.
    func play(_ order: EpochOrder) throws -> [EpochSample] {
        try process.lines.say("play \(order.pages) \(order.epochs) \(order.seed) \(order.rest)")
        var samples: [EpochSample] = []
        while let line = try process.lines.hear(seconds: 300) {
            let words = line.split(separator: " ")
            switch (words.first ?? "", words.dropFirst().compactMap { UInt64($0) }) {
            case ("played", let numbers) where numbers.count == 2:
                processor = ProcessorTimes(
                    primary: numbers[0],
                    standby: numbers[1],
                    epochs: order.epochs
                )
                return samples
            case ("sample", let numbers) where numbers.count == 2:
                // It tells times from the suspend on.
                samples.append(
                    EpochSample(suspended: 0, cut: 0, resumed: numbers[0], acknowledged: numbers[1])
                )
            default: throw BenchError("\(Self.name): \(line)")
            }
        }
        throw BenchError("\(Self.name) has ended")
    }

    func end() { process.end() }
}
