import Synchronization
import SystemSupport

/// Many schedules, on some threads.
package final class Campaign: Sendable {
    /// What is known when all have been played.
    package struct Outcome: Sendable {
        package fileprivate(set) var coverage = Coverage()
        package fileprivate(set) var schedules = 0
        /// Seeds that broke a promise, with the promise, in order.
        package fileprivate(set) var failures: [(seed: UInt64, promise: String)] = []
        /// The shortest schedule, and the one with the fewest faults.
        package fileprivate(set) var fewestEvents = Int.max, fewestFaults = Int.max

        /// No schedule was too short to prove anything.
        package var isLongEnough: Bool {
            fewestEvents >= World.leastEvents && fewestFaults >= World.leastFaults
        }
    }

    private let seeds: Range<UInt64>
    private let misdeed: Misdeed?
    /// No more schedules begin once so many have failed.
    private let patience: Int
    private let next: Atomic<UInt64>
    private let outcome = Mutex(Outcome())

    /// - Parameter misdeed: a bug to play with.
    package init(seeds: Range<UInt64>, misdeed: Misdeed? = nil, patience: Int = 10) {
        self.seeds = seeds
        self.misdeed = misdeed
        self.patience = patience
        next = Atomic(seeds.lowerBound)
    }

    /// Plays them all.
    package func run(threads: Int) throws -> Outcome {
        let workers = try (0..<threads).map { number in
            try WorkerThread("simulator-\(number)") { [self] in work() }
        }
        for worker in workers { worker.join() }
        return outcome.withLock { outcome in
            outcome.failures.sort { $0.seed < $1.seed }
            return outcome
        }
    }

    private func work() {
        var mine = Coverage()
        while true {
            let seed = next.add(1, ordering: .relaxed).oldValue
            guard seed < seeds.upperBound, outcome.withLock({ $0.failures.count }) < patience else { break }
            let world = World(seed: seed, misdeed: misdeed)
            world.run()
            mine.add(world.coverage)
            outcome.withLock { outcome in
                outcome.schedules += 1
                if let broken = world.broken { return outcome.failures.append((seed, broken)) }
                outcome.fewestEvents = min(outcome.fewestEvents, world.events)
                outcome.fewestFaults = min(outcome.fewestFaults, world.coverage.faultCount)
            }
        }
        outcome.withLock { $0.coverage.add(mine) }
    }
}
