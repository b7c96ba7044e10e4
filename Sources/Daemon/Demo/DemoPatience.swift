import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// Waits that a person can break off.
package final class DemoPatience: Sendable {
    private let isInterrupted = Atomic(false)

    package init() {}

    /// Every wait ends from here on. Any thread.
    package func interrupt() { isInterrupted.store(true, ordering: .relaxed) }

    /// - Throws: `DemoError.interrupted` once somebody has interrupted.
    func check() throws(DemoError) {
        if isInterrupted.load(ordering: .relaxed) { throw .interrupted }
    }

    /// Waits until `condition` gives something.
    /// - Parameter what: in words that follow "waited in vain for".
    @discardableResult
    func wait<R>(
        for what: @autoclosure () -> String,
        atMost limit: TimeSpan,
        _ condition: () throws -> R?
    ) throws -> R {
        let end = Clock.monotonic + limit.nanoseconds
        while true {
            try check()
            if let result = try condition() { return result }
            guard Clock.monotonic < end else {
                throw DemoError.unexpected("waited \(limit.rounded) in vain for \(what())")
            }
            usleep(5000)
        }
    }

    /// Lets time pass.
    func sleep(_ span: TimeSpan) throws(DemoError) {
        let end = Clock.monotonic + span.nanoseconds
        while true {
            try check()
            let now = Clock.monotonic
            guard now < end else { return }
            usleep(UInt32(min(end - now, 20_000_000) / 1000) + 1)
        }
    }
}
