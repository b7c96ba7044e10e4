import SystemSupport

/// Whose turn it is: the measuring thread orders epochs and waits, the engine's thread plays them and waits.
final class EpochTurns: Sendable {
    private struct State: Sendable {
        /// When protection was ordered, and when its first epoch was committed; nanoseconds of the boot clock.
        var began: UInt64?, synced: UInt64?
        var order: EpochOrder?
        var samples: [EpochSample]?
        var isOver = false
        var trouble: String?
    }

    private let state = Monitor(State())

    // MARK: The measuring thread

    /// Waits for the first commit.
    /// - Returns: microseconds that it took.
    func waitForSync(seconds: UInt64) throws -> Double {
        let deadline = Clock.monotonic + seconds * 1_000_000_000
        let outcome = state.wait(until: deadline) { state -> (time: Double, trouble: String?)? in
            guard let began = state.began, let synced = state.synced else {
                return state.trouble.map { (0, $0) }
            }
            return (Double(synced - began) / 1000, state.trouble)
        }
        guard let outcome else { throw BenchError("the initial sync took more than \(seconds) s") }
        if let trouble = outcome.trouble { throw BenchError(trouble) }
        return outcome.time
    }

    /// Has an order played.
    func play(_ order: EpochOrder, seconds: UInt64) throws -> [EpochSample] {
        state.signal { ($0.order, $0.samples) = (order, nil) }
        let deadline = Clock.monotonic + seconds * 1_000_000_000
        let outcome = state.wait(until: deadline) { state -> (samples: [EpochSample], trouble: String?)? in
            state.samples != nil || state.trouble != nil ? (state.samples ?? [], state.trouble) : nil
        }
        guard let outcome else {
            throw BenchError("\(order.epochs) epochs of \(order.pages) pages took more than \(seconds) s")
        }
        if let trouble = outcome.trouble { throw BenchError(trouble) }
        return outcome.samples
    }

    /// Sees that protection goes on.
    func check() throws {
        if let trouble = state.withLock({ $0.trouble }) { throw BenchError(trouble) }
    }

    /// No more orders come.
    func end() { state.signal { $0.isOver = true } }

    // MARK: The engine's thread

    /// Waits for the next order; nil: there is none.
    func nextOrder() -> EpochOrder? {
        state.wait { state -> EpochOrder?? in
            if let order = state.order {
                state.order = nil
                return .some(order)
            }
            return state.isOver ? .some(nil) : nil
        } ?? nil
    }

    /// Protection begins.
    func began() { state.signal { $0.began = Clock.boot } }

    /// The image is whole.
    func synced() { state.signal { $0.synced = Clock.boot } }

    /// An order was played.
    func played(_ samples: [EpochSample]) { state.signal { $0.samples = samples } }

    /// It cannot be.
    func failed(_ trouble: String) { state.signal { $0.trouble = trouble } }
}
