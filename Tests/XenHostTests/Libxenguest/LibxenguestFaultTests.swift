import CXen
import Checkpoint
import SystemSupport
import Testing
import XenHost
import XenStream

/// Whatever the child does: the guest runs afterwards, nothing is taken for whole that is not, and a new child begins anew.
@Suite(.timeLimit(.minutes(4))) struct LibxenguestFaultTests {
    /// One session as the engine leads it; returns how many checkpoints were whole.
    private func session(_ rig: Rig, _ script: SampleScript, suspendTimeout: UInt64 = 20_000) throws -> Int {
        let all = Array(0..<UInt64(script.sample.pages))
        try rig.guest.startDirtyTracking()
        _ = try rig.records { try rig.guest.writeStatic(into: &$0) }
        _ = try rig.copy(all)
        for number in 1...script.epochs.count {
            guard try rig.suspend(within: suspendTimeout) != nil else {
                rig.guest.cancelSuspend()
                #expect(!rig.native.isSuspended, "a withdrawn request leaves the guest suspended")
                return number - 1
            }
            _ = try rig.dirty()
            #expect(isSame(try rig.copy(all), script.memory(after: number)))
            #expect(
                try rig.records { try rig.guest.writeState(into: &$0) } == script.epochs[number - 1].state
            )
            try rig.guest.resume()
        }
        return script.epochs.count
    }

    /// The first child is broken after so many steps; then the session is repaired, and the second child does it all.
    private func survives(_ script: SampleScript, after count: Int, _ fault: ScriptedChild.Step) throws {
        let rig = try Rig(kind: script.kind, pages: script.sample.pages, patience: .milliseconds(200)) {
            number in
            try ScriptedChild(number == 0 ? Array(script.steps.prefix(count)) + [fault] : script.steps)
        }
        do {
            let whole = try session(rig, script, suspendTimeout: 300)
            #expect(whole < script.epochs.count || count >= script.steps.count - 1)
        } catch let error as GuestError {
            #expect(error.voidsTracking)
            // The machine's answer to it.
            try rig.guest.resume()
        }
        #expect(!rig.native.isSuspended && !rig.native.isAsked)
        rig.guest.stopDirtyTracking()
        rig.guest.patience = .seconds(30)
        #expect(try session(rig, script) == script.epochs.count)
        #expect(rig.children.count == 2)
    }

    @Test(arguments: [SampleStream.Guest.pv64, .hvm])
    func aChildThatDiesAtAnyStep(_ kind: SampleStream.Guest) throws {
        let script = SampleScript(kind, checkpoints: 2)
        for count in 0..<script.steps.count { try survives(script, after: count, .die) }
    }

    @Test func aChildThatDiesWithinARecord() throws {
        let script = SampleScript(.hvm, checkpoints: 2)
        for (count, step) in script.steps.enumerated() {
            guard case .write(let bytes) = step else { continue }
            var broken = script
            broken.steps[count] = .write(Array(bytes.prefix(bytes.count - 1)))
            let first = broken.steps
            let rig = try Rig(kind: script.kind, pages: script.sample.pages, patience: .milliseconds(200)) {
                number in
                try ScriptedChild(number == 0 ? Array(first.prefix(count + 1)) + [.die] : script.steps)
            }
            #expect(throws: GuestError.self) { try session(rig, script) }
            try rig.guest.resume()
            #expect(!rig.native.isSuspended)
            rig.guest.patience = .seconds(30)
            #expect(try session(rig, script) == script.epochs.count)
        }
    }

    @Test func aChildThatStallsAtAnyStep() throws {
        let script = SampleScript(.hvm, checkpoints: 2)
        for count in 0..<script.steps.count { try survives(script, after: count, .stall) }
    }

    /// What a child says that is no sense, or not in order, ends its session.
    @Test(arguments: 0..<8)
    func aChildOutOfOrder(_ which: Int) throws {
        let script = SampleScript(.pv64, checkpoints: 2)
        let suspended = try #require(
            script.steps.firstIndex { if case .ask(CXEN_SAVE_SUSPEND, _, _) = $0 { true } else { false } }
        )
        let state = try #require(script.epochs.first?.state)
        let content = [UInt8](repeating: 7, count: guestPageSize)
        let far = UInt64(script.sample.pages)
        let table = SampleStream.tablePFN
        let faults: [(after: Int, step: ScriptedChild.Step)] = [
            (0, .ask(CXEN_SAVE_POSTCOPY)),
            (suspended, .ask(CXEN_SAVE_POSTCOPY)),
            (suspended, .write(state)),
            (suspended + 1, .ask(CXEN_SAVE_POSTCOPY)),
            (suspended + 1, .ask(CXEN_SAVE_SUSPEND)),
            (suspended + 1, .garbage),
            (suspended + 1, .write(SampleScript.onePage(content, pfn: far))),
            // A page table that could not be sent.
            (suspended + 1, .write(SampleScript.onePage([], pfn: table, type: .absent))),
        ]
        var steps = script.steps
        steps.insert(faults[which].step, at: faults[which].after)
        let rig = try Rig(kind: script.kind, pages: script.sample.pages, patience: .seconds(5)) { number in
            try ScriptedChild(number == 0 ? steps : script.steps)
        }
        let error = #expect(throws: GuestError.self) { try session(rig, script) }
        #expect(error?.voidsTracking == true)
        try rig.guest.resume()
        #expect(!rig.native.isSuspended)
        #expect(try session(rig, script) == script.epochs.count)
    }

    @Test func aSuspendAfterWhichNothingIsDirtyVoidsWhatIsKnown() throws {
        let script = SampleScript(.hvm, checkpoints: 1)
        // Without the page that the sample sends after its suspend.
        var steps = script.steps
        let suspended = try #require(
            steps.firstIndex { if case .ask(CXEN_SAVE_SUSPEND, _, _) = $0 { true } else { false } }
        )
        steps.remove(at: suspended + 1)
        let broken = steps
        let rig = try Rig(kind: script.kind, pages: script.sample.pages) { number in
            try ScriptedChild(number == 0 ? broken : script.steps)
        }
        let error = #expect(throws: GuestError.self) { try session(rig, script) }
        #expect(error?.voidsTracking == true)
        #expect(error?.reason.contains("something else ended log-dirty") == true)
        try rig.guest.resume()
        #expect(!rig.native.isSuspended)
    }

    @Test(arguments: [true, false])
    func aDisturbedGuestVoidsWhatIsKnown(_ byTool: Bool) throws {
        let script = SampleScript(.hvm, checkpoints: 2)
        let rig = try Rig(script)
        try rig.guest.startDirtyTracking()
        _ = try rig.copy(Array(0..<UInt64(script.sample.pages)))
        #expect(try rig.suspend() == .suspended)
        try rig.guest.resume()
        if byTool { rig.native.isDisturbed = true } else { rig.native.ram += 1 }
        let error = #expect(throws: GuestError.self) { try rig.suspend() }
        #expect(error?.voidsTracking == true)
        try rig.guest.resume()
        #expect(!rig.native.isSuspended)
        #expect(try session(rig, script) == script.epochs.count)
    }

    @Test func whatLibxenguestSaysIsPassedOn() throws {
        let script = SampleScript(.hvm, checkpoints: 1)
        let rig = try Rig(kind: script.kind, pages: script.sample.pages) { _ in
            try ScriptedChild([
                .ask(CXEN_SAVE_READY), .tell("Failed to enable logdirty: 22"), .tell("Save failed"), .die,
            ])
        }
        try rig.guest.startDirtyTracking()
        let error = #expect(throws: GuestError.self) {
            try rig.records { try rig.guest.writeStatic(into: &$0) }
        }
        #expect(error?.reason.contains("Failed to enable logdirty: 22") == true)
    }

    @Test func noChildNoEngine() throws {
        #expect(throws: GuestError.self) {
            try Rig(kind: .hvm, pages: 16) { _ in throw SystemError("start", code: 2) }
        }
    }
}
