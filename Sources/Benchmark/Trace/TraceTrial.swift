import CKernels
import SystemSupport

/// What it costs the processor to encode the pages of a trace, its epochs in order: by remusd's own encoder, and by LZ4 alone. Both
/// find the same pages, staged anew, in turns, an epoch each.
///
/// Unchecked: one thread uses it, or waits for the one that does.
final class TraceTrial: @unchecked Sendable {
    private let trace: TraceReader
    private let encoding: TraceEncoding
    /// More than the processor's caches hold.
    private let elsewhere: Mapping

    init(_ trace: TraceReader) throws {
        guard trace.epochs.contains(where: { $0.pages > 0 }) else {
            throw BenchError("\(trace.path) has no pages")
        }
        self.trace = trace
        encoding = try TraceEncoding(trace)
        elsewhere = try Mapping.anonymous(count: 64 << 20)
        // Memory that nobody wrote is one page of zeros, as often as it is read.
        elsewhere.bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Goes through the trace, once more before that.
    /// - Parameter processor: nil: any.
    /// - Returns: a sample for each pass, the mean over all pages.
    func play(passes: Int, on processor: Int?) throws -> [BothEncoders.Sample] {
        try MeasuringThread.run("encode", on: processor) { [self] in
            _ = try pass(0)
            return try (0..<passes).map { try pass($0) }
        }
    }

    private func pass(_ number: Int) throws -> BothEncoders.Sample {
        var (ours, lz4) = (BothEncoders.Cost(), BothEncoders.Cost())
        var pages = 0
        for (index, epoch) in trace.epochs.enumerated() where epoch.pages > 0 {
            // Whoever is second finds the trace's pages warmer.
            let isOursFirst = (number + index) % 2 == 0
            if isOursFirst { ours += try encode(epoch) }
            lz4 += pack(epoch)
            if !isOursFirst { ours += try encode(epoch) }
            pages += epoch.pages
        }
        return BothEncoders.Sample(ours: ours, lz4: lz4, pages: pages)
    }

    private func encode(_ epoch: TraceReader.Epoch) throws -> BothEncoders.Cost {
        encoding.begin(epoch)
        emptyCaches()
        return try encoding.encode(epoch)
    }

    private func pack(_ epoch: TraceReader.Epoch) -> BothEncoders.Cost {
        emptyCaches()
        return encoding.pack(epoch)
    }

    /// Has been elsewhere: what was sent an epoch ago or longer is not at hand in the engine either.
    private func emptyCaches() { _ = ckernels_is_zero(elsewhere.base, elsewhere.count) }
}
