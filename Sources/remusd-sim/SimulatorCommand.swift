import ArgumentParser
import Glibc
import Simulator
import SystemSupport

/// `remusd-sim`: plays schedules of faults against the daemon's state machines.
@main
struct SimulatorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remusd-sim",
        abstract: "Attacks the promises of remusd in many thousands of simulated schedules.",
        discussion: """
            The state machines of protect and standby run against simulated hosts, disks, wires and clocks, on which \
            everything fails; after every event the promises R1 to R4 are checked, and in the end, when nothing \
            fails any more, protection has to come back. The same seed plays the same schedule.

            A schedule that breaks a promise is told: play it again with --seed SEED --schedules 1 --story.

            EXIT CODES
              0   all promises kept, and everything that can occur did (from \(Self.fullRun) schedules on)
              1   a promise was broken, or something never occurred
              64  the command line makes no sense
            """
    )
    /// So many schedules reach everything.
    private static let fullRun = 20_000

    @Option(help: "The first schedule's seed; the others' follow it.")
    var seed: UInt64 = 1

    @Option(help: "How many schedules to play.")
    var schedules: Int = Self.fullRun

    @Option(help: "Threads (default: one a processor).")
    var threads: Int = sysconf(Int32(_SC_NPROCESSORS_ONLN))

    @Option(help: "A bug to play with: \(Misdeed.allCases.map(\.rawValue).joined(separator: ", ")).")
    var bug: Misdeed?

    @Flag(help: "Tell the first schedule's story, whether or not it breaks a promise.")
    var story = false

    @Flag(help: "Leave the coverage table out.")
    var quiet = false

    func validate() throws {
        guard (1...100_000_000).contains(schedules), (1...1024).contains(threads), seed < 1 << 62 else {
            throw ValidationError("--seed from 0, --schedules from 1 to 100000000, --threads from 1 to 1024.")
        }
    }

    func run() throws {
        if story { tell(seed) }
        let campaign = Campaign(seeds: seed..<seed + UInt64(schedules), misdeed: bug)
        let outcome = try campaign.run(threads: threads)
        if !quiet { print(outcome.coverage.text) }
        let gaps = schedules >= Self.fullRun ? outcome.coverage.gaps : []
        for gap in gaps { print("never occurred: \(gap)") }
        for failure in outcome.failures { print("seed \(failure.seed): \(failure.promise)") }
        if let first = outcome.failures.first, !story { tell(first.seed) }
        let isGood = outcome.failures.isEmpty && gaps.isEmpty && outcome.isLongEnough
        let verdict = isGood ? "passed" : "FAILED"
        let broken = outcome.failures.first.map { "; seed \($0.seed): \($0.promise)" } ?? ""
        print(
            "\(verdict): seed \(seed), \(outcome.schedules) schedules, \(outcome.coverage.events) events, "
                + "\(outcome.coverage.faultCount) faults, \(outcome.failures.count) broken, \(gaps.count) never occurred"
                + broken
        )
        if !isGood { throw ExitCode(1) }
    }

    private func tell(_ seed: UInt64) {
        let world = World(seed: seed, misdeed: bug, tells: true)
        world.run()
        print("The story of seed \(seed):")
        for line in world.story { print("  \(line)") }
    }
}

extension Misdeed: ExpressibleByArgument {}
