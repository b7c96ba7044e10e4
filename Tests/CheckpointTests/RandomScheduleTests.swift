import Testing

/// Thousands of seconds of two machines, a bad network and failing hosts. A seed that fails is in the test's name, and
/// plays again.
@Suite struct RandomScheduleTests {
    @Test(arguments: 0..<40 as Range<UInt64>)
    func noScheduleBreaksAPromise(_ block: UInt64) {
        var commits = 0, restarts = 0
        for seed in block * 10..<block * 10 + 10 {
            let simulation = Simulation(seed: seed)
            simulation.run(steps: 3000)
            let story = simulation.story.suffix(30).joined(separator: "\n")
            #expect(simulation.broken.isEmpty, "seed \(seed): \(simulation.broken)\n\(story)")
            commits += simulation.commits
            restarts += simulation.restarts
        }
        // A world in which nothing happens proves nothing.
        #expect(commits > 100 && restarts > 0)
    }
}
