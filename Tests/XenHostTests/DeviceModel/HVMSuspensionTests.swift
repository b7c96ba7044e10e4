import Checkpoint
import SystemSupport
import Testing
import XenHost

/// A checkpoint's pause of a guest with a device model, with all that a QEMU may do in it.
@Suite struct HVMSuspensionTests {
    private let qemu: ScriptedQEMU
    private let model: DeviceModel
    private let vcpus: VcpuDouble
    private let guest: HVMSuspension

    init() throws {
        qemu = try ScriptedQEMU()
        model = try DeviceModel(of: 7, folder: qemu.folder)
        vcpus = try VcpuDouble(qemu)
        guest = try HVMSuspension(vcpus, model, guest: "vm", maxPause: .milliseconds(300))
    }

    /// Asks for a suspend, and does as the checkpoint loop does until it is answered.
    private func suspend() throws -> SuspendOutcome? {
        try guest.request()
        return try answer()
    }

    private func answer() throws -> SuspendOutcome? {
        let deadline = Clock.monotonic + 10_000_000_000
        while Clock.monotonic < deadline {
            if let outcome = try guest.outcome() { return outcome }
            _ = Poll.wait(guest.eventDescriptor, milliseconds: 1000)
            #expect(guest.checkEnd() == nil)
        }
        return nil
    }

    /// Resumes it as the checkpoint loop does: again and again.
    private func resume() throws {
        let deadline = Clock.monotonic + 10_000_000_000
        while true {
            do throws(GuestError) {
                return try guest.resume()
            } catch {
                guard Clock.monotonic < deadline else { throw error }
            }
        }
    }

    /// What was done to the guest, without the beginnings of connections.
    private var journal: [String] { qemu.journal.filter { $0 != "qmp_capabilities" && $0 != "add-fd" } }

    /// The guest runs, and so do its devices, which did first.
    private func expectRunning() {
        #expect(!vcpus.isSuspended)
        #expect(qemu.read(\.isRunning))
        #expect(!qemu.journal.contains("vcpus run without devices"))
    }

    /// A whole checkpoint, as a proof that nothing is left over.
    private func expectWholeCheckpoint() throws {
        #expect(try suspend() == .suspended)
        try guest.requireSaved()
        #expect(Array(model.state) == qemu.read(\.saved))
        #expect(!qemu.read(\.isRunning))
        try resume()
        expectRunning()
    }

    @Test(arguments: [false, true])
    func aWholeCheckpoint(_ isChatty: Bool) throws {
        qemu.change { $0.isChatty = isChatty }
        try expectWholeCheckpoint()
        #expect(qemu.waits(for: "remove-fd"))
        #expect(
            qemu.journal == [
                "qmp_capabilities", "add-fd", "vcpus asked", "stop", "xen-save-devices-state live=false",
                "cont",
                "vcpus run", "remove-fd",
            ]
        )
    }

    @Test func oneAfterTheOther() throws {
        for number in 1...20 as ClosedRange<UInt8> {
            qemu.change {
                $0.saved = Array("QEVM".utf8) + [UInt8](repeating: number, count: 100 * Int(number))
            }
            try expectWholeCheckpoint()
        }
        #expect(qemu.holdsNothing())
    }

    @Test func thePauseCountsFromTheVcpusOn() throws {
        #expect(guest.suspendedSince == nil)
        #expect(try suspend() == .suspended)
        #expect(guest.suspendedSince != nil)
        try resume()
        #expect(guest.suspendedSince == nil)
    }

    @Test func anOldQEMUKnowsNoLive() throws {
        qemu.change { $0.version = (2, 10) }
        try expectWholeCheckpoint()
        #expect(qemu.journal.contains("xen-save-devices-state"))
    }

    @Test func aGuestThatDoesNotSuspend() throws {
        vcpus.answer = .refused
        #expect(try suspend() == .refused)
        vcpus.answer = .paused
        #expect(try suspend() == .paused)
        #expect(!qemu.journal.contains("stop"))
        vcpus.answer = .suspended
        try expectWholeCheckpoint()
    }

    @Test func aRequestThatIsWithdrawn() throws {
        vcpus.answer = nil
        try guest.request()
        guest.cancel()
        while !qemu.journal.contains("vcpus asked") {
            try guest.request()
            #expect(try guest.outcome() == nil)
            _ = Poll.wait(guest.eventDescriptor, milliseconds: 1000)
        }
        guest.cancel()
        #expect(!qemu.journal.contains("stop"))
        vcpus.answer = .suspended
        try expectWholeCheckpoint()
    }

    // MARK: Before the pause

    @Test(
        arguments: ["greeting", "qmp_capabilities", "add-fd"],
        [ScriptedQEMU.Fault.close, .garbage, .endless]
    )
    func whatFailsBeforeCostsNoPause(_ step: String, _ fault: ScriptedQEMU.Fault) throws {
        qemu.change { $0.faults = [step: fault] }
        #expect(throws: GuestError.self) { try suspend() }
        #expect(!qemu.journal.contains("vcpus asked"))
        qemu.wake()
        try expectWholeCheckpoint()
    }

    @Test(arguments: ["qmp_capabilities", "add-fd"], [ScriptedQEMU.Fault.refuse, .wrongID])
    func aWrongAnswerBeforeCostsNoPause(_ step: String, _ fault: ScriptedQEMU.Fault) throws {
        qemu.change { $0.faults = [step: fault] }
        #expect(throws: GuestError.self) { try suspend() }
        #expect(!qemu.journal.contains("vcpus asked"))
        qemu.wake()
        try expectWholeCheckpoint()
    }

    @Test(arguments: ["greeting", "qmp_capabilities", "add-fd"])
    func silenceBeforeCostsNoPause(_ step: String) throws {
        qemu.change { $0.faults = [step: .hang] }
        try guest.request()
        for _ in 0..<20 {
            #expect(try guest.outcome() == nil)
            _ = Poll.wait(guest.eventDescriptor, milliseconds: 5)
        }
        // The checkpoint loop's own deadline.
        guest.cancel()
        #expect(!qemu.journal.contains("vcpus asked"))
        qemu.wake()
        try expectWholeCheckpoint()
    }

    @Test func thereIsNoQEMUAnyMore() throws {
        qemu.end()
        #expect(throws: GuestError.self) { try suspend() }
        #expect(!vcpus.isSuspended)
    }

    // MARK: In the pause

    @Test(
        arguments: ["stop", "xen-save-devices-state"],
        [ScriptedQEMU.Fault.refuse, .close, .closeAfter, .garbage, .endless, .wrongID, .hang]
    )
    func whatFailsInThePauseFailsTheCheckpointAndTheGuestGoesOn(_ step: String, _ fault: ScriptedQEMU.Fault)
        throws
    {
        qemu.change { $0.faults = [step: fault] }
        // The loop then finds that nothing was saved, and resumes it.
        #expect(try suspend() == .suspended)
        #expect(throws: GuestError.self) { try guest.requireSaved() }
        qemu.wake()
        try resume()
        expectRunning()
        try expectWholeCheckpoint()
        #expect(qemu.read(\.isRunning))
    }

    @Test func aStateIsSavedAndWrong() throws {
        let wrong: [[UInt8]] = [
            [], Array("QEV".utf8), Array("QEVM".utf8), Array("something else".utf8),
            Array("QEVM".utf8) + [UInt8](repeating: 0, count: DeviceModel.longestState),
        ]
        for saved in wrong {
            qemu.change { $0.saved = saved }
            #expect(try suspend() == .suspended)
            #expect(throws: GuestError.self) { try guest.requireSaved() }
            try resume()
            expectRunning()
        }
        qemu.change {
            $0.saved = Array("QEVM".utf8) + [UInt8](repeating: 7, count: DeviceModel.longestState - 4)
        }
        try expectWholeCheckpoint()
    }

    @Test func silentAfterTheStopItIsResumedAllTheSame() throws {
        qemu.change { $0.faults = ["stop": .hang] }
        #expect(try suspend() == .suspended)
        #expect(throws: GuestError.self) { try guest.requireSaved() }
        // Nobody knows whether its devices have stopped: it is not kept for them for ever.
        try resume()
        #expect(!vcpus.isSuspended)
        // Once it wakes it does as it was told: it stops, and goes on.
        qemu.wake()
        try expectWholeCheckpoint()
        #expect(journal.filter { $0 == "stop" }.count == 2)
    }

    @Test func whileTheDevicesAreKnownToBeStoppedTheVcpusWait() throws {
        #expect(try suspend() == .suspended)
        qemu.change { $0.faults = ["cont": .hang] }
        for _ in 0..<3 { #expect(throws: GuestError.self) { try guest.resume() } }
        #expect(vcpus.isSuspended)
        #expect(throws: GuestError.self) { try guest.request() }
        qemu.wake()
        try resume()
        expectRunning()
        try expectWholeCheckpoint()
    }

    @Test(arguments: [ScriptedQEMU.Fault.refuse, .close, .closeAfter, .garbage, .endless, .wrongID])
    func whatGoesWrongWithGoingOnIsTriedAgain(_ fault: ScriptedQEMU.Fault) throws {
        #expect(try suspend() == .suspended)
        qemu.change { $0.faults = ["cont": fault] }
        #expect(throws: GuestError.self) { try guest.resume() }
        #expect(vcpus.isSuspended)
        qemu.wake()
        try resume()
        expectRunning()
        try expectWholeCheckpoint()
    }

    @Test func aQEMUThatDiesInThePauseLeavesNobodySuspended() throws {
        #expect(try suspend() == .suspended)
        qemu.end()
        try resume()
        #expect(!vcpus.isSuspended)
    }

    @Test func aSuspendThatIsWithdrawnInThePause() throws {
        qemu.change { $0.faults = ["xen-save-devices-state": .hang] }
        try guest.request()
        while !vcpus.isSuspended {
            #expect(try guest.outcome() == nil)
            _ = Poll.wait(guest.eventDescriptor, milliseconds: 1000)
        }
        while !qemu.journal.contains("stop"), try guest.outcome() == nil {
            _ = Poll.wait(guest.eventDescriptor, milliseconds: 1000)
        }
        // Nothing can be thrown here: it is looked after until it runs.
        guest.cancel()
        qemu.wake()
        while vcpus.isSuspended {
            _ = guest.checkEnd()
            _ = Poll.wait(guest.eventDescriptor, milliseconds: 100)
        }
        expectRunning()
        try expectWholeCheckpoint()
    }

    @Test(arguments: ["none", "suspended", "stop"])
    func theEndLeavesItRunning(_ when: String) throws {
        if when == "stop" { qemu.change { $0.faults = ["stop": .refuse] } }
        if when != "none" { #expect(try suspend() == .suspended) }
        guest.settle(within: 5_000_000_000)
        expectRunning()
    }

    @Test func theEndWaitsForABoundedTime() throws {
        #expect(try suspend() == .suspended)
        qemu.change { $0.faults = ["cont": .hang] }
        guest.settle(within: 300_000_000)
        #expect(!vcpus.isSuspended)
    }

    @Test func aGuestThatEndedIsNotResumed() throws {
        #expect(try suspend() == .suspended)
        qemu.change { $0.faults = ["cont": .hang] }
        guest.cancel()
        vcpus.end = .crashed
        #expect(guest.checkEnd() == .crashed)
        #expect(!qemu.journal.contains { $0.hasPrefix("vcpus run") })
    }
}
