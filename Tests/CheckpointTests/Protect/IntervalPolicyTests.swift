import Checkpoint
import Testing

/// What intervals and budgets come to, on a link and with a guest that are numbers.
@Suite struct IntervalPolicyTests {
    /// Pages a second that the link carries and the guest writes; what a commit takes beside, and a pause.
    private struct World {
        var link = 28_000.0, writes = 0.0
        var answer = TimeSpan.milliseconds(1), pause = TimeSpan.microseconds(500)

        /// The epoch that comes of the policy as it is: it ends by time, or, where the guest can be asked, with its budget.
        func epoch(_ policy: IntervalPolicy, isAsked: Bool = false) -> IntervalPolicy.Epoch {
            var length = policy.interval
            if isAsked, let budget = policy.budget, writes > 0 {
                let full = TimeSpan(nanoseconds: UInt64(Double(budget) / writes * 1e9))
                length = min(length, max(full, policy.soonest))
            }
            let pages = writes * Double(length.nanoseconds) / 1e9
            let commit = answer + TimeSpan(nanoseconds: UInt64(pages / link * 1e9))
            let ran = Instant(nanoseconds: length.nanoseconds) - Instant(nanoseconds: pause.nanoseconds)
            return IntervalPolicy.Epoch(pages: Int(pages), ran: ran, pause: pause, commit: commit)
        }

        func play(_ policy: inout IntervalPolicy, epochs: Int, isAsked: Bool = false) -> [TimeSpan] {
            (0..<epochs).map { _ in
                let epoch = epoch(policy, isAsked: isAsked)
                policy.committed(epoch)
                return epoch.ran + epoch.pause
            }
        }
    }

    private func isIn(_ policy: IntervalPolicy) -> Bool {
        let lengths = policy.least...policy.most
        return lengths.contains(policy.interval) && lengths.contains(policy.soonest)
            && lengths.contains(policy.shortened)
            && policy.budget.map { IntervalPolicy.budgets.contains($0) } ?? false
    }

    @Test func oneThatIsFixedStaysThat() {
        var policy = IntervalPolicy(every: .milliseconds(40))
        _ = World(writes: 1e6, pause: .milliseconds(300)).play(&policy, epochs: 50)
        #expect(policy == IntervalPolicy(every: .milliseconds(40)))
        #expect(policy.budget == nil && policy.interval == .milliseconds(40))
        #expect(policy.shortened == .milliseconds(10))
    }

    /// An interval and its commit are what output is to wait, and stay that.
    @Test(arguments: [0.0, 100, 5000, 14_000, 25_000], [false, true])
    func itConverges(writes: Double, isAsked: Bool) {
        let world = World(writes: writes)
        var policy = IntervalPolicy(target: .milliseconds(50))
        _ = world.play(&policy, epochs: 100, isAsked: isAsked)
        let lengths = world.play(&policy, epochs: 50, isAsked: isAsked)
        let (low, high) = (lengths.min() ?? policy.least, lengths.max() ?? policy.most)
        #expect(high < low + .milliseconds(2), "\(low) to \(high)")
        let wait = high + world.epoch(policy, isAsked: isAsked).commit
        #expect(wait > .milliseconds(40) && wait < .milliseconds(54), "\(wait)")
    }

    @Test func anIdleGuestIsLeftAloneForAlmostAllOfTheTarget() {
        var policy = IntervalPolicy(target: .milliseconds(50))
        _ = World().play(&policy, epochs: 100)
        #expect(policy.interval > .milliseconds(48) && policy.interval < .milliseconds(50))
    }

    @Test func aSlowLinkShortensEpochsAndAFastOneGivesThemBack() {
        var policy = IntervalPolicy(target: .milliseconds(50))
        _ = World(link: 14_000, writes: 12_000).play(&policy, epochs: 100)
        let (slow, few) = (policy.interval, policy.budget ?? 0)
        #expect(slow < .milliseconds(30) && few < 400)
        _ = World(link: 280_000, writes: 12_000).play(&policy, epochs: 100)
        #expect(policy.interval > .milliseconds(45) && policy.budget ?? 0 > 4 * few)
    }

    /// However long it took: it does not look as if the link had carried more.
    @Test func aBurstDoesNotRaiseTheBudget() {
        var policy = IntervalPolicy(target: .milliseconds(50))
        _ = World(writes: 14_000).play(&policy, epochs: 100)
        let budget = policy.budget ?? 0
        let burst = World(writes: 400_000)
        policy.committed(burst.epoch(policy))
        policy.committed(burst.epoch(policy))
        #expect(policy.budget ?? 0 <= budget + budget / 10 && isIn(policy))
    }

    /// They wait for their answer: a burst after them is not cut short because of that.
    @Test func smallEpochsDoNotLowerTheBudget() {
        var policy = IntervalPolicy(target: .milliseconds(50))
        _ = World(writes: 27_000).play(&policy, epochs: 100)
        let budget = policy.budget ?? 0
        #expect(budget > 500)
        _ = World(writes: 40, answer: .milliseconds(20)).play(&policy, epochs: 100)
        #expect(policy.budget ?? 0 >= budget)
    }

    /// The guest stands still for a tenth of its time, which is worth more than the target.
    @Test func longPausesMakeLongIntervals() {
        var policy = IntervalPolicy(target: .milliseconds(50))
        _ = World(pause: .milliseconds(12)).play(&policy, epochs: 100)
        #expect(policy.interval > .milliseconds(115) && policy.interval < .milliseconds(125))
        _ = World(pause: .milliseconds(60)).play(&policy, epochs: 100)
        #expect(policy.interval == policy.most && policy.soonest > .milliseconds(115))
    }

    @Test func oneBadCommitIsForgottenSoon() {
        let world = World(writes: 20_000)
        var policy = IntervalPolicy(target: .milliseconds(50))
        _ = world.play(&policy, epochs: 100)
        let (interval, budget) = (policy.interval, policy.budget ?? 0)
        var bad = world.epoch(policy)
        bad.commit = .seconds(2)
        policy.committed(bad)
        #expect(isIn(policy) && policy.budget ?? 0 > budget / 3)
        _ = world.play(&policy, epochs: 40)
        #expect(policy.interval + .milliseconds(3) > interval)
        #expect(policy.interval < interval + .milliseconds(3))
    }

    /// A guest that writes more than the link carries; and whatever else there may be.
    @Test func itIsBounded() {
        for target in [TimeSpan(nanoseconds: 0), .milliseconds(50), TimeSpan(nanoseconds: .max)] {
            var policy = IntervalPolicy(target: target)
            #expect(isIn(policy))
            _ = World(writes: 1e6).play(&policy, epochs: 50, isAsked: true)
            #expect(isIn(policy))
            let spans = ([0, 1, 1_000_000, 1 << 40, .max] as [UInt64]).map { TimeSpan(nanoseconds: $0) }
            for pages in [0, 1, -1, 1 << 20, .max] as [Int] {
                for ran in spans {
                    for pause in spans {
                        for commit in spans {
                            let epoch = IntervalPolicy.Epoch(
                                pages: pages,
                                ran: ran,
                                pause: pause,
                                commit: commit
                            )
                            for _ in 0..<3 { policy.committed(epoch) }
                            #expect(isIn(policy), "\(epoch)")
                        }
                    }
                }
            }
        }
    }
}
