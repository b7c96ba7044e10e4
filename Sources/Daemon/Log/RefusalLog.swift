import Checkpoint
import Logging
import Synchronization
import SystemSupport

/// A log of what strangers do, which they cannot flood: a few lines at once, then one every few seconds that says how many
/// were left out.
package final class RefusalLog: Sendable {
    private struct Budget {
        var lines = RefusalLog.burst
        var since: UInt64 = 0
        var leftOut = 0
    }

    /// Lines at once.
    package static let burst = 10
    /// Nanoseconds until there is one more.
    static let pause: UInt64 = 5_000_000_000

    private let log: Logger
    private let budget = Mutex(Budget())

    package init(_ log: Logger) { self.log = log }

    /// Writes a warning, or counts it.
    package func note(_ text: @autoclosure () -> String, peer: String, at now: UInt64 = Clock.monotonic) {
        let leftOut: Int? = budget.withLock { budget in
            let earned = budget.since == 0 ? 0 : (now - min(now, budget.since)) / Self.pause
            budget.lines = min(Self.burst, budget.lines + Int(min(earned, UInt64(Self.burst))))
            budget.since = budget.since == 0 ? now : budget.since + earned * Self.pause
            guard budget.lines > 0 else {
                budget.leftOut += 1
                return nil
            }
            budget.lines -= 1
            return exchange(&budget.leftOut, with: 0)
        }
        guard let leftOut else { return }
        let more: Logger.Metadata = leftOut > 0 ? ["left_out": "\(leftOut)"] : [:]
        log.warning("\(text())", metadata: more.merging(["peer": "\(peer)"]) { old, _ in old })
    }
}
