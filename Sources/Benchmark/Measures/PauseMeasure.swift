/// B1: how long a checkpoint stops the guest.
struct PauseMeasure: Measure {
    let id = MeasureID.b1

    /// Dirty pages of an epoch, and the most of the peer's pause that ours may be.
    private static let cases: [(pages: Int, share: Double)] = [(256, 0.25), (1024, 0.40), (8192, 0.33)]
    private static let gib = 1 << 18

    func rows(_ bench: Bench) throws -> [Row] {
        var rows: [Row] = []
        for link in [LinkKind.unix, .tcp] {
            bench.say("1 GiB over a \(link.title)")
            let sides = try SideBySide(bench, id, link, pages: Self.gib, filled: Self.gib, copying: 8192)
            defer { sides.end() }
            for (index, each) in Self.cases.enumerated() {
                let samples = try sides.measure(
                    pages: each.pages,
                    epochs: bench.epochs(200),
                    seed: UInt64(index) + 1
                )
                rows += Self.rows("\(each.pages) pages, \(link.title)", samples, share: each.share)
            }
            let samples = try sides.measure(pages: 1, epochs: bench.epochs(200), seed: 11)
            rows += Self.rows("1 page of 1 GiB, \(link.title)", samples, share: 0.25, copy: false)
        }
        rows += try swept(bench)
        rows += try large(bench, one: rows)
        return rows
    }

    /// A guest that writes all the time: what is dirty is sent before the pause, in which only what it writes meanwhile is copied.
    private func swept(_ bench: Bench) throws -> [Row] {
        bench.say("1 GiB, swept")
        let sides = try SideBySide(
            bench,
            id,
            .unix,
            pages: Self.gib,
            filled: Self.gib,
            copying: 8192,
            sweepsFrom: 1024
        )
        defer { sides.end() }
        return try [1024, 8192].flatMap { pages -> [Row] in
            let epochs = bench.epochs(200)
            let samples = try sides.measure(pages: pages, epochs: epochs, seed: 13, spread: 25_000)
            guard let pause = Percentiles(samples.ours.map(\.pause), in: .microseconds),
                let copy = Percentiles(samples.copy, in: .microseconds)
            else { return [] }
            return [
                Row(
                    id,
                    "\(pages) pages in 25 ms, swept, \(LinkKind.unix.title)",
                    .microseconds,
                    pause,
                    beside: Beside(CopyLimit.name, copy),
                    bar: .ratio(.atMost, 1)
                )
            ]
        }
    }

    /// One page of 8 GiB, and how much longer that takes than one of 1 GiB.
    private func large(_ bench: Bench, one rows: [Row]) throws -> [Row] {
        bench.say("8 GiB")
        let sides = try SideBySide(bench, id, .unix, pages: 8 * Self.gib, filled: Self.gib / 8)
        defer { sides.end() }
        let samples = try sides.measure(pages: 1, epochs: bench.epochs(200), seed: 12)
        var result = Self.rows("1 page of 8 GiB, \(LinkKind.unix.title)", samples, share: 0.25)
        let small = rows.first { $0.title.hasPrefix("1 page of 1 GiB, \(LinkKind.unix.title)") }
        if let small, let pause = Percentiles(samples.ours.map(\.pause), in: .microseconds) {
            result.append(
                Row(id, "1 page of 8 GiB", .microseconds, pause, beside: Beside("ours, 1 GiB", small.ours))
            )
        }
        return result
    }

    private static func rows(
        _ title: String,
        _ samples: SideBySide.Samples,
        share: Double,
        copy isCompared: Bool = true
    ) -> [Row] {
        guard let pause = Percentiles(samples.ours.map(\.pause), in: .microseconds) else { return [] }
        let peer = Percentiles(samples.peer.map(\.pause), in: .microseconds)
        var rows = [
            Row(
                .b1,
                title,
                .microseconds,
                pause,
                beside: peer.map { Beside(PeerPair.name, $0) },
                bar: .ratio(.atMost, share)
            )
        ]
        if isCompared, let copy = Percentiles(samples.copy, in: .microseconds) {
            rows.append(
                Row(
                    .b1,
                    title,
                    .microseconds,
                    pause,
                    beside: Beside(CopyLimit.name, copy),
                    bar: .ratio(.atMost, 1.3)
                )
            )
        }
        return rows
    }
}
