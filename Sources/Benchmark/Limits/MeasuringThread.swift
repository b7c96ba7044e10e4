import SystemSupport

/// A thread for something that is measured.
enum MeasuringThread {
    /// Runs `body` on a thread of its own, and waits for it.
    /// - Parameters:
    ///   - name: at most 15 bytes.
    ///   - processor: where it runs; nil: anywhere.
    static func run<Found: Sendable>(
        _ name: String,
        on processor: Int?,
        _ body: @escaping @Sendable () throws -> Found
    ) throws -> Found {
        let outcome = Monitor<Result<Found, any Error>?>(nil)
        try WorkerThread(name) {
            let result = Result<Found, any Error> {
                if let processor { try ProcessorPin.pin(to: processor) }
                return try body()
            }
            outcome.withLock { $0 = result }
        }.join()
        guard let result = outcome.withLock({ $0 }) else { throw BenchError("\(name): nothing was measured") }
        return try result.get()
    }
}
