import Checkpoint

/// B7: what a checkpoint takes of the primary's processors, and of the standby's.
struct ProcessorMeasure: Measure {
    let id = MeasureID.b7

    private static let cases = [256, 1024, 8192]
    private static let gib = 1 << 18
    /// Epochs of one order, which is one sample: a process's time is not known to the microsecond.
    private static let turn = 20
    /// For the table: the peer's standby, which checks nothing and keeps nothing.
    static let reader = "reading alone"

    func rows(_ bench: Bench) throws -> [Row] {
        var rows: [Row] = []
        for link in [LinkKind.unix, .tcp] {
            let watch = ProcessorWatch()
            let sides = try SideBySide(bench, id, link, pages: Self.gib, filled: Self.gib, watch: watch)
            defer { sides.end() }
            for (index, pages) in Self.cases.enumerated() {
                bench.say("\(pages) pages over a \(link.title)")
                var ours: [ProcessorTimes] = []
                var peer: [ProcessorTimes] = []
                for turn in 0...bench.epochs(200) / Self.turn {
                    let seed = UInt64(81 + index) &+ UInt64(turn) &* 1_000_003
                    let order = EpochOrder(pages: pages, epochs: Self.turn, seed: seed)
                    let found = try Self.play(order, sides.ours, watch)
                    _ = try sides.peer?.play(order)
                    // The first of each is thrown away.
                    guard turn > 0 else { continue }
                    ours.append(found)
                    if let times = sides.peer?.processor { peer.append(times) }
                }
                try sides.ours.checkImage()
                rows += Self.rows(pages: pages, link, ours, beside: peer)
            }
        }
        return rows
    }

    private static func play(_ order: EpochOrder, _ pair: EnginePair, _ watch: ProcessorWatch) throws
        -> ProcessorTimes
    {
        let before = try pair.standbyProcessor()
        _ = try pair.play(order)
        let after = try pair.standbyProcessor()
        return ProcessorTimes(primary: watch.taken, standby: after - before, epochs: order.epochs)
    }

    /// Both sides' rows: of a checkpoint, and of each of its pages.
    static func rows(
        pages: Int,
        _ link: LinkKind,
        _ ours: [ProcessorTimes],
        beside peer: [ProcessorTimes]
    ) -> [Row] {
        let sides: [(String, KeyPath<ProcessorTimes, Double>, String)] = [
            ("primary", \.primary, PeerPair.name), ("standby", \.standby, reader),
        ]
        return sides.flatMap { side, time, name in
            [(Unit.microseconds, 1.0), (.microsecondsPerPage, Double(pages))].compactMap { unit, share in
                func figure(_ times: [ProcessorTimes]) -> Percentiles? {
                    Percentiles(times.map { $0[keyPath: time] / share }, in: unit)
                }
                return figure(ours).map {
                    Row(
                        .b7,
                        "\(pages) pages, \(link.title), \(side)",
                        unit,
                        $0,
                        beside: figure(peer).map { Beside(name, $0) }
                    )
                }
            }
        }
    }
}
