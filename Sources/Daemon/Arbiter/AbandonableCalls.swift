import Checkpoint
import Glibc
import SystemSupport

/// Calls that may hang for ever (a dead file server, a name that nobody resolves), each on a thread of its own that is left
/// behind when the time is over. Few are left behind at a time: beyond that no new one is begun.
final class AbandonableCalls: Sendable {
    /// Threads left behind, beyond which no call is begun.
    static let limit = 16
    /// So much before the deadline a call should come to an end by itself, in nanoseconds: it knows what it waited for.
    private static let reserve: UInt64 = 100_000_000

    private enum Progress<R: Sendable>: Sendable {
        case running
        case done(R)
        case abandoned
    }

    /// Calls that nobody waits for any more and that have not ended.
    private let hanging = Monitor(0)

    /// How many hang now.
    var hangingCount: Int { hanging.withLock { $0 } }

    /// Runs `body`, waiting for `span` at most. `body` gets the end of its time, in `Clock.monotonic`, a little
    /// earlier, and begins nothing new after it.
    /// - Throws: `ArbiterError` of `body`, when the time is over, or where too many earlier calls hang.
    func run<R: Sendable>(
        within span: TimeSpan,
        _ body: @escaping @Sendable (_ deadline: UInt64) throws(ArbiterError) -> R
    ) throws(ArbiterError) -> R {
        let waiting = hangingCount
        guard waiting < Self.limit else {
            throw ArbiterError("\(waiting) earlier calls hang without an answer; no more are begun")
        }
        // A year is no limit to anybody, and cannot overflow.
        let span = min(span, .seconds(365 * 86_400))
        let deadline = Clock.monotonic + span.nanoseconds
        let last = deadline - min(span.nanoseconds / 20, Self.reserve)
        let progress = Monitor(Progress<Result<R, ArbiterError>>.running)
        do {
            try WorkerThread("arbiter") { [hanging] in
                // What a dead connection or child would send to this thread alone.
                var signals = sigset_t()
                sigemptyset(&signals)
                sigaddset(&signals, SIGPIPE)
                pthread_sigmask(SIG_BLOCK, &signals, nil)
                let result = Result { () throws(ArbiterError) in try body(last) }
                let wasAbandoned = progress.signal { progress in
                    if case .abandoned = progress { return true }
                    progress = .done(result)
                    return false
                }
                if wasAbandoned { hanging.withLock { $0 -= 1 } }
            }.detach()
        } catch {
            throw ArbiterError("\(error)")
        }
        let result: Result<R, ArbiterError>? = progress.wait(until: deadline) { progress in
            if case .done(let result) = progress { return result }
            return nil
        }
        if let result { return try result.get() }
        // It may have ended in this very moment.
        let late: Result<R, ArbiterError>? = progress.withLock { progress in
            if case .done(let result) = progress { return result }
            progress = .abandoned
            return nil
        }
        if let late { return try late.get() }
        hanging.withLock { $0 += 1 }
        throw ArbiterError("no answer within \(span.rounded)")
    }
}
