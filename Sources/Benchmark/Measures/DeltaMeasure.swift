import Checkpoint
import Daemon

/// B4: how fast pages of which little has changed are encoded and sent, and what encoding them costs beside LZ4.
struct DeltaMeasure: Measure {
    let id = MeasureID.b4

    private static let pages = 1024
    private static let guestPages = 1 << 18
    /// Bytes on the wire of a page that eight of its words are sent of, at most; more, and they were sent otherwise.
    private static let longest = 256.0

    func rows(_ bench: Bench) throws -> [Row] {
        var rows: [Row] = []
        for link in [LinkKind.unix, .tcp] {
            bench.say("over a \(link.title)")
            rows += try sent(bench, link)
        }
        bench.say("beside LZ4")
        if let row = try encoded(bench) { rows.append(row) }
        return rows + traced(bench)
    }

    /// By the engine, with differences negotiated.
    private func sent(_ bench: Bench, _ link: LinkKind) throws -> [Row] {
        let watch = SendWatch()
        let pair = try EnginePair(
            link,
            pages: Self.guestPages,
            filled: Self.guestPages,
            interval: .microseconds(1),
            encoding: .delta,
            watch: watch
        )
        defer { pair.end() }
        _ = try pair.play(EpochOrder(pages: Self.pages, epochs: 20, seed: 71))
        let samples = try pair.play(EpochOrder(pages: Self.pages, epochs: bench.epochs(200), seed: 72))
        let sends = watch.sends
        try pair.checkImage()
        guard sends.count == samples.count else {
            throw BenchError("\(sends.count) of \(samples.count) epochs were seen to be sent")
        }
        return try Self.rows("\(Self.pages) pages, \(link.title)", pages: Self.pages, sends, samples)
    }

    static func rows(
        _ title: String,
        pages: Int,
        _ sends: [EpochSend],
        _ samples: [EpochSample]
    ) throws -> [Row] {
        let count = Double(pages)
        let bytes = sends.map { Double($0.bytes) / count }
        if let most = bytes.max(), most > longest {
            throw BenchError("\(Figure.text(most)) bytes a page: they were not sent as differences")
        }
        func row(_ what: String, _ unit: Unit, _ figures: [Double], bar: Bar? = nil) -> Row? {
            Percentiles(figures, in: unit).map { Row(.b4, "\(title), \(what)", unit, $0, bar: bar) }
        }
        return [
            row(
                "encoded and sent",
                .pagesPerSecond,
                sends.map { count / ($0.time / 1e6) },
                bar: .value(.atLeast, 500_000)
            ),
            row("committed", .pagesPerSecond, samples.map { count / ($0.commit / 1e6) }),
            row("encoding and sending, processor", .microsecondsPerPage, sends.map { $0.processor / count }),
            row("on the wire", .bytesPerPage, bytes),
        ].compactMap { $0 }
    }

    /// By the encoder alone.
    private func encoded(_ bench: Bench) throws -> Row? {
        let trial = try EncodingTrial(pages: Self.guestPages)
        let processor = Placement.here.primary
        _ = try trial.play(EpochOrder(pages: Self.pages, epochs: 20, seed: 73), on: processor)
        let order = EpochOrder(pages: Self.pages, epochs: bench.epochs(200), seed: 74)
        let samples = try trial.play(order, on: processor)
        return Self.row("\(Self.pages) pages", samples)
    }

    /// By the encoder alone, on traces of real guests. What cannot be had of them is missing, and the rest of B4 is there.
    private func traced(_ bench: Bench) -> [Row] {
        do {
            return try PageModel.recorded(in: bench.options.tools).compactMap { traced(bench, $0) }
        } catch {
            bench.miss(id, "\(error)")
            return []
        }
    }

    private func traced(_ bench: Bench, _ model: PageModel) -> Row? {
        bench.say("beside LZ4, on the trace \(model.workload)")
        do {
            let trial = try TraceTrial(TraceReader(model.trace))
            let passes = bench.options.isShort ? 5 : 20
            return Self.row(model.workload, try trial.play(passes: passes, on: Placement.here.primary))
        } catch {
            bench.miss(id, "\(error)")
            return nil
        }
    }

    /// What encoding took, beside LZ4; nil without a sample.
    static func row(_ title: String, _ samples: [BothEncoders.Sample]) -> Row? {
        guard let ours = Percentiles(samples.map(\.ours), in: .microsecondsPerPage),
            let lz4 = Percentiles(samples.map(\.lz4), in: .microsecondsPerPage)
        else { return nil }
        return Row(
            .b4,
            "\(title), encoding alone, processor",
            .microsecondsPerPage,
            ours,
            beside: Beside(BothEncoders.other, lz4),
            bar: .ratio(.atMost, 0.5)
        )
    }
}
