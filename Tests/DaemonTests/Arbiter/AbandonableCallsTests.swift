import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// Calls that may hang: nobody waits longer than the deadline, and not too many are left behind.
@Suite(.timeLimit(.minutes(2)))
struct AbandonableCallsTests {
    @Test func anAnswerInTimeIsTheAnswer() throws {
        #expect(try AbandonableCalls().run(within: .seconds(60)) { _ in 7 } == 7)
    }

    @Test func aCallThatHangsIsLeftBehindAndForgottenWhenItEnds() throws {
        let calls = AbandonableCalls()
        let gate = EventGate()
        let error = #expect(throws: ArbiterError.self) {
            try calls.run(within: .milliseconds(50)) { _ in gate.wait() }
        }
        #expect(error?.description == "no answer within 50ms")
        #expect(calls.hangingCount == 1)
        gate.open()
        while calls.hangingCount > 0 { usleep(1000) }
        #expect(try calls.run(within: .seconds(60)) { _ in 7 } == 7)
    }

    @Test func notTooManyAreLeftBehind() throws {
        let calls = AbandonableCalls()
        let gate = EventGate()
        for _ in 0..<AbandonableCalls.limit {
            #expect(throws: ArbiterError.self) {
                try calls.run(within: .milliseconds(1)) { _ in gate.wait() }
            }
        }
        let error = #expect(throws: ArbiterError.self) {
            try calls.run(within: .seconds(60)) { _ in Issue.record("begun all the same") }
        }
        #expect(error?.description.contains("16 earlier calls hang") == true)
        gate.open()
    }

    @Test func theDeadlineIsTold() throws {
        let now = Clock.monotonic
        let told = try AbandonableCalls().run(within: .seconds(60)) { $0 }
        #expect(told >= now + 59_900_000_000)
        #expect(try AbandonableCalls().run(within: TimeSpan(nanoseconds: .max)) { _ in 7 } == 7)
    }
}
