import Checkpoint
import Testing

/// When an epoch is swept before its pause.
@Suite struct SweepPolicyTests {
    /// One epoch: whether it was swept. Of `ahead` pages `again` are written again; without a sweep all of them are copied in the pause.
    private func epoch(_ policy: inout SweepPolicy, ahead: Int, again: Int) -> Bool {
        let isSwept = policy.wantsSweep()
        if isSwept {
            policy.wasSwept(pages: ahead)
            let isAgain = policy.wantsSweep()
            #expect(!isAgain, "an epoch is swept once")
        }
        policy.wasCopied(pages: isSwept ? again : ahead)
        return isSwept
    }

    @Test func largeEpochsAreSweptAndSmallOnesAreNot() {
        var policy = SweepPolicy(from: 100)
        let swept = [100, 100, 99, 99, 100, 5000, 5000].map { epoch(&policy, ahead: $0, again: 1) }
        #expect(swept == [false, true, true, false, false, true, true])
    }

    @Test func whatSavesTooLittleRests() {
        var policy = SweepPolicy(from: 100)
        let swept = (0..<40).map { _ in epoch(&policy, ahead: 1000, again: 900) }
        #expect(swept.filter { $0 }.count == 3 && swept[1] && swept[18] && swept[35])
    }

    @Test func nothingIsSweptUnlessWanted() {
        var policy = SweepPolicy(from: nil)
        let swept = (0..<5).map { _ in epoch(&policy, ahead: 1 << 20, again: 0) }
        #expect(swept.allSatisfy { !$0 })
    }
}
