import Simulator
import Testing

/// A few hundred schedules; `remusd-sim` plays many more.
@Suite(.serialized) struct ScheduleTests {
    @Test func noScheduleBreaksAPromise() throws {
        let outcome = try Campaign(seeds: 1..<301).run(threads: 2)
        #expect(outcome.failures.isEmpty, "\(outcome.failures)")
        #expect(outcome.schedules == 300 && outcome.isLongEnough)
    }

    /// The same seed tells the same story.
    @Test func aScheduleReplays() {
        let stories = (0..<2).map { _ in
            let world = World(seed: 7, tells: true)
            world.run()
            return world.story
        }
        #expect(stories[0] == stories[1] && stories[0].count > 10)
    }

    /// A simulator that finds no bug proves nothing.
    @Test(arguments: Misdeed.allCases) func eachBugIsFound(_ misdeed: Misdeed) throws {
        let outcome = try Campaign(seeds: 1..<601, misdeed: misdeed, patience: 3).run(threads: 2)
        #expect(outcome.failures.count >= 3)
    }
}
