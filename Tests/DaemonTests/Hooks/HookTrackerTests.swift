import Checkpoint
import Testing

@testable import Daemon

/// One event for each transition, and none for what is no transition.
@Suite struct HookTrackerTests {
    /// A tracker that is looked at every 100 ms.
    private struct Watched {
        var tracker = HookTracker()
        var now = Instant(nanoseconds: 0)
        var events: [HookEvent] = []

        mutating func look(_ situation: HookSituation, isSure: Bool = false, times: Int = 1) {
            for _ in 0..<times {
                now = now + .milliseconds(100)
                let event = tracker.note(situation, isSure: isSure, suspectAfter: .seconds(1), at: now)
                if let event { events.append(event) }
            }
        }
    }

    @Test func aPrimarysLife() {
        var watched = Watched()
        for situation in [.unsettled, .protected, .lost, .alone, .unsettled, .protected, .ended]
            as [HookSituation]
        {
            watched.look(situation, isSure: true, times: 20)
        }
        #expect(watched.events == [.postProtected, .peerLost, .postAlone, .postProtected, .postEnded])
    }

    @Test func aConnectionThatComesBackAtOnceIsNoLoss() {
        var watched = Watched()
        for _ in 0..<5 {
            watched.look(.protected, times: 3)
            watched.look(.lost, times: 10)
            watched.look(.unsettled, times: 3)
        }
        #expect(watched.events == [.postProtected])
        watched.look(.lost, times: 10)
        #expect(watched.events == [.postProtected])
        watched.look(.lost)
        #expect(watched.events == [.postProtected, .peerLost])
    }

    @Test func whatWasFoundOutByWaitingIsALossAtOnce() {
        var watched = Watched()
        watched.look(.protected)
        watched.look(.lost, isSure: true)
        #expect(watched.events == [.postProtected, .peerLost])
    }

    @Test func eachLossIsOne() {
        var watched = Watched()
        for _ in 0..<2 {
            watched.look(.lost, isSure: true, times: 50)
            watched.look(.protected)
        }
        #expect(watched.events == [.peerLost, .postProtected, .peerLost, .postProtected])
    }

    /// A process that was stopped for a minute finds its connection gone: that minute says nothing about the other side.
    @Test func timeThatNobodyLookedDoesNotCount() {
        var watched = Watched()
        watched.look(.protected)
        watched.look(.lost, times: 2)
        watched.now = watched.now + .seconds(60)
        watched.look(.lost, times: 5)
        #expect(watched.events == [.postProtected])
        watched.look(.lost, times: 6)
        #expect(watched.events == [.postProtected, .peerLost])
    }

    @Test func whatIsKnownAlreadyIsNotTold() {
        var watched = Watched()
        watched.tracker = HookTracker(told: .outdated)
        watched.look(.outdated)
        watched.look(.ended)
        #expect(watched.events == [.postEnded])
        watched.tracker.takeAsTold(.active)
        watched.look(.active)
        #expect(watched.events == [.postEnded])
    }
}
