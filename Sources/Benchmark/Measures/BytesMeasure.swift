/// B3: what a dirty page of a real guest takes on the wire, page numbers and frames included, beside what
/// simple encodings make of its content alone (bench/page-model.c), and beside the page as it is.
struct BytesMeasure: Measure {
    let id = MeasureID.b3

    func rows(_ bench: Bench) throws -> [Row] {
        try PageModel.recorded(in: bench.options.tools).flatMap { try rows(of: $0) }
    }

    func rows(of model: PageModel) throws -> [Row] {
        let trace = try TraceReader(model.trace)
        let encoding = try TraceEncoding(trace)
        var (bytes, pages, worst) = (0, 0, 0.0)
        for epoch in trace.epochs where epoch.pages > 0 {
            let sent = try encoding.bytes(of: epoch)
            bytes += sent
            pages += epoch.pages
            worst = max(worst, Double(sent) / Double(epoch.pages))
        }
        guard pages == model.pages, pages > 0 else {
            throw BenchError("\(trace.path) has \(pages) pages, and \(model.pages) for the model")
        }
        return [
            Row(
                .b3,
                model.workload,
                .bytesPerPage,
                Percentiles(only: Double(bytes) / Double(pages)),
                beside: Beside("min(RLE8, LZ4), zero", Percentiles(only: model.model)),
                bar: .ratio(.atMost, 1.05)
            ),
            Row(
                .b3,
                "\(model.workload), worst epoch",
                .bytesPerPage,
                Percentiles(only: worst),
                beside: Beside("raw", Percentiles(only: model.raw)),
                bar: .ratio(.atMost, 1.003)
            ),
        ]
    }
}
