import Checkpoint
import SystemSupport
import Testing
import XenHost
import XenStream

/// What comes out of the second engine is what libxenguest put in.
@Suite(.timeLimit(.minutes(2))) struct LibxenguestGuestTests {
    @Test(arguments: [SampleStream.Guest.pv32, .pv64, .hvm])
    func pagesAndStateComeOutTheSame(_ kind: SampleStream.Guest) throws {
        let script = SampleScript(kind, checkpoints: 4)
        let rig = try Rig(script)
        try rig.guest.startDirtyTracking()
        #expect(try rig.records { try rig.guest.writeStatic(into: &$0) } == script.staticBytes)
        let all = Array(0..<UInt64(script.sample.pages))
        // The initial sync, while the guest runs.
        #expect(isSame(try rig.copy(all), script.memory(after: 1)))
        #expect(try rig.dirty().isEmpty)
        for number in 1...4 {
            let epoch = script.epochs[number - 1]
            #expect(try rig.suspend() == .suspended)
            #expect(rig.native.isSuspended)
            #expect(try #require(rig.guest.suspendedSince).nanoseconds <= Clock.boot)
            // A hole that stays one is no news.
            let news = Set(epoch.pages.keys).subtracting([SampleStream.holePFN])
            #expect(try rig.dirty() == (number == 1 ? [0] : news))
            #expect(isSame(try rig.copy(all), script.memory(after: number)))
            #expect(try rig.records { try rig.guest.writeState(into: &$0) } == epoch.state)
            try rig.guest.resume()
            #expect(!rig.native.isSuspended)
        }
        #expect(rig.native.resumes == 4 && rig.native.cancels == 0)
    }

    @Test func whatWasAbandonedComesWithTheNext() throws {
        let script = SampleScript(.hvm, checkpoints: 3)
        let rig = try Rig(script)
        try rig.guest.startDirtyTracking()
        _ = try rig.copy(Array(0..<UInt64(script.sample.pages)))
        #expect(try rig.suspend() == .suspended)
        try rig.guest.resume()
        // The first checkpoint was not collected at all, the second is cancelled when it is whole.
        #expect(try rig.suspend() == .suspended)
        rig.guest.cancelSuspend()
        #expect(!rig.native.isSuspended)
        #expect(try rig.suspend() == .suspended)
        let news = Set([0] + script.epochs[1].pages.keys + script.epochs[2].pages.keys)
        #expect(try rig.dirty() == news.subtracting([SampleStream.holePFN]))
        let all = Array(0..<UInt64(script.sample.pages))
        #expect(isSame(try rig.copy(all), script.memory(after: 3)))
        #expect(rig.children.count == 1)
    }

    @Test func aGuestThatDoesNotSuspendCostsNothing() throws {
        let script = SampleScript(.hvm, checkpoints: 2)
        let rig = try Rig(script)
        try rig.guest.startDirtyTracking()
        _ = try rig.copy(Array(0..<UInt64(script.sample.pages)))
        rig.native.answer = nil
        #expect(try rig.suspend(within: 300) == nil)
        rig.guest.cancelSuspend()
        #expect(!rig.native.isAsked && rig.native.cancels == 1)
        rig.native.answer = .refused
        #expect(try rig.suspend() == .refused)
        rig.native.answer = .ended(.reboot)
        #expect(try rig.suspend() == .ended(.reboot))
        rig.native.answer = .suspended
        #expect(try rig.suspend() == .suspended)
        #expect(try rig.dirty() == [0])
        #expect(rig.children.count == 1)
    }

    @Test func aRequestThatIsWithdrawnAtOnceCostsNothing() throws {
        let script = SampleScript(.hvm, checkpoints: 2)
        let rig = try Rig(script)
        try rig.guest.startDirtyTracking()
        _ = try rig.copy(Array(0..<UInt64(script.sample.pages)))
        try rig.guest.requestSuspend()
        rig.guest.cancelSuspend()
        #expect(try rig.guest.suspendOutcome() == .refused)
        #expect(!rig.native.isSuspended && !rig.native.isAsked)
        #expect(try rig.suspend() == .suspended)
        try rig.guest.resume()
        #expect(rig.children.count == 1)
    }

    @Test func aResumeThatFailsIsTriedAgain() throws {
        let script = SampleScript(.hvm, checkpoints: 2)
        let rig = try Rig(script)
        try rig.guest.startDirtyTracking()
        _ = try rig.copy(Array(0..<UInt64(script.sample.pages)))
        #expect(try rig.suspend() == .suspended)
        rig.native.resumeFails = true
        #expect(throws: GuestError.self) { try rig.guest.resume() }
        #expect(rig.native.isSuspended)
        rig.native.resumeFails = false
        try rig.guest.resume()
        #expect(!rig.native.isSuspended)
        #expect(try rig.suspend() == .suspended)
    }

    @Test func stateBelongsToASuspendedGuest() throws {
        let script = SampleScript(.hvm, checkpoints: 1)
        let rig = try Rig(script)
        try rig.guest.startDirtyTracking()
        #expect(throws: GuestError.self) { try rig.records { try rig.guest.writeState(into: &$0) } }
    }

    @Test func trackingAgainBeginsFromNothing() throws {
        let script = SampleScript(.pv64, checkpoints: 2)
        let rig = try Rig(script)
        for round in 1...3 {
            try rig.guest.startDirtyTracking()
            let all = Array(0..<UInt64(script.sample.pages))
            #expect(isSame(try rig.copy(all), script.memory(after: 1)))
            #expect(try rig.dirty().isEmpty)
            #expect(try rig.suspend() == .suspended)
            try rig.guest.resume()
            #expect(rig.children.count == round)
        }
        let stops = rig.native.stops
        rig.guest.stopDirtyTracking()
        #expect(rig.native.stops > stops)
        #expect(throws: GuestError.self) { try rig.guest.requestSuspend() }
    }
}
