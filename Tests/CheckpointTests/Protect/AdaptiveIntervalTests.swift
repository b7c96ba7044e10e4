import Checkpoint
import Testing

/// What the machine makes of intervals that are chosen epoch by epoch: promises R2 and R4 hold as ever.
@Suite struct AdaptiveIntervalTests {
    private static let least = IntervalPolicy(target: .milliseconds(50)).least

    /// Epoch 1 is committed, and the guest is suspended for nothing else since.
    private func primary(_ target: TimeSpan? = .milliseconds(50)) -> PrimaryUnderTest {
        var settings = ProtectSettings()
        settings.interval = .milliseconds(50)
        settings.latencyTarget = target
        return PrimaryUnderTest.protected(settings, epoch: 1)
    }

    /// Lets time pass until `epoch` is on its way.
    private func time(to epoch: UInt64, _ primary: PrimaryUnderTest) -> TimeSpan {
        let began = primary.now
        for _ in 0..<1000 where primary.machine.status.sent != epoch {
            if primary.now.nanoseconds % 50_000_000 == 0 { primary.beat() }
            primary.advance(.milliseconds(1))
        }
        #expect(primary.machine.status.sent == epoch)
        return primary.now - began
    }

    @Test func anEpochEndsWithItsBudget() {
        let primary = primary()
        primary.run(.milliseconds(15), step: .milliseconds(1))
        primary.dispatch(.dirtied(pages: .max))
        #expect(time(to: 2, primary) <= .milliseconds(3))
    }

    @Test func oneThatHasLessEndsByTime() {
        let primary = primary()
        primary.dispatch(.dirtied(pages: 10))
        #expect(time(to: 2, primary) > .milliseconds(35))
    }

    /// What is dirty belongs to one epoch: the next has a budget of its own.
    @Test func theNextOneLastsAsLongAsEver() {
        let primary = primary()
        primary.dispatch(.dirtied(pages: .max))
        _ = time(to: 2, primary)
        primary.ack(2)
        #expect(time(to: 3, primary) > .milliseconds(35))
    }

    @Test func noTwoSuspendsAreCloserThanTheLeastInterval() {
        let primary = primary()
        var suspends: [Instant] = []
        primary.onEffect = { [unowned primary] in if $0.isSuspend { suspends.append(primary.now) } }
        for turn in 0..<2000 {
            primary.advance(.milliseconds(1))
            primary.dispatch(.dirtied(pages: .max))
            primary.dispatch(.outputFilling(turn % 3 == 0))
            if let closed = primary.plug.closed { primary.ack(closed.epoch) }
            if turn % 50 == 0 { primary.beat() }
        }
        let gaps = zip(suspends.dropFirst(), suspends).map { $0 - $1 }
        #expect(gaps.count > 100)
        #expect(gaps.allSatisfy { $0 >= Self.least }, "\(gaps.min() ?? Self.least)")
    }

    /// Promise R2: the plug knows one closed epoch. The budget is used up before, and counts at once afterwards.
    @Test(arguments: [20, 1500])
    func noneEndsBeforeTheOneBeforeIsAcknowledged(commit: UInt64) {
        let primary = primary()
        _ = time(to: 2, primary)
        primary.dispatch(.dirtied(pages: .max))
        primary.run(.milliseconds(commit), beating: true)
        #expect(primary.machine.status.sent == 2 && !primary.has(.cut(epoch: 3)))
        primary.ack(2)
        #expect(time(to: 3, primary) <= .milliseconds(3))
    }

    @Test func aFixedIntervalHasNoBudget() {
        let primary = primary(nil)
        #expect(primary.machine.nextLook == nil)
        primary.dispatch(.dirtied(pages: .max))
        #expect(time(to: 2, primary) > .milliseconds(35))
        #expect(primary.machine.status.interval == .milliseconds(50))
    }

    @Test func aGuestThatDoesNotSuspendIsNotAskedMoreOften() {
        let attempts = [10, Int.max].map { pages in
            let primary = primary()
            primary.suspendAnswer = .refused
            primary.run(.milliseconds(500), beating: true)
            let before = primary.count(\.isSuspend)
            for _ in 0..<400 {
                primary.dispatch(.dirtied(pages: pages))
                primary.run(.milliseconds(10), beating: true)
            }
            return primary.count(\.isSuspend) - before
        }
        #expect(attempts[0] > 1 && attempts[0] == attempts[1], "\(attempts)")
    }

    // MARK: Looking

    /// A few times in an epoch, while the guest runs, and no more once its budget is used up.
    @Test func theGuestIsAskedAFewTimes() {
        let primary = primary()
        _ = time(to: 2, primary)
        primary.ack(2)
        var looks = 0
        while primary.machine.status.sent == 2, looks < 10 {
            primary.advance(.milliseconds(1))
            if let look = primary.machine.nextLook, primary.now >= look {
                #expect(!primary.isSuspended)
                looks += 1
                primary.dispatch(.dirtied(pages: 10))
                #expect(primary.machine.nextLook.map { $0 > primary.now } ?? true)
            }
        }
        #expect(looks == 3)
        // The epoch in flight is not acknowledged, and what the guest writes meanwhile counts.
        #expect(primary.machine.nextLook != nil)
        primary.dispatch(.dirtied(pages: .max))
        #expect(primary.machine.nextLook == nil)
    }

    @Test func nobodyAsksWithoutAConnection() {
        let primary = primary()
        #expect(primary.machine.nextLook != nil)
        primary.loseConnection()
        #expect(primary.machine.nextLook == nil)
    }

    // MARK: Learning

    @Test func slowCommitsMakeShorterEpochs() {
        let primary = primary()
        primary.harvest = .whole(pages: 700)
        let before = primary.machine.status.interval
        for epoch in UInt64(2)...12 {
            _ = time(to: epoch, primary)
            primary.run(.milliseconds(30), step: .milliseconds(1), beating: true)
            primary.ack(epoch)
        }
        #expect(before > .milliseconds(45) && primary.machine.status.interval < .milliseconds(30))
        #expect(primary.machine.status.interval >= Self.least)
    }

    /// How long a connection was away is no measure of it.
    @Test func anEpochOverALostConnectionTeachesNothing() {
        let primary = primary()
        let before = primary.machine.status.interval
        _ = time(to: 2, primary)
        primary.loseConnection()
        primary.run(.milliseconds(500))
        primary.link(committed: 1)
        primary.ack(2)
        #expect(primary.machine.status.acked == 2)
        #expect(primary.machine.status.interval == before)
    }

    /// What is dirty when the budget is used up is sent first, if that is wanted; then the guest is suspended at once.
    @Test func aSweepIsFollowedByItsSuspend() {
        let primary = primary()
        primary.suspendAnswer = nil
        primary.run(.milliseconds(12), step: .milliseconds(1))
        primary.dispatch(.dirtied(pages: .max))
        #expect(primary.asksToSuspend)
        primary.wantsSweep()
        #expect(primary.syncRound != nil && !primary.asksToSuspend)
        primary.advance(.milliseconds(1))
        #expect(primary.asksToSuspend)
    }
}
