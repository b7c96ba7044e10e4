import Checkpoint
import Testing
import XenHost

@Suite struct SuspendMachineTests {
    /// A machine that has asked the guest to suspend.
    private var asking: SuspendMachine {
        var machine = SuspendMachine()
        #expect(machine.request(.running, at: 0) == .ask)
        machine.asked()
        return machine
    }

    @Test func asksThenSeesTheSuspendAndRunsOn() {
        var machine = asking
        #expect(machine.observe(.running, at: 1) == .nothing)
        #expect(machine.observe(.suspended, at: 2) == .suspended)
        // Asked twice, the answer is the same.
        #expect(machine.observe(.suspended, at: 3) == .suspended)
        machine.resumed()
        #expect(machine.phase == .running)
        #expect(!machine.isVoid)
        #expect(machine.request(.running, at: 4) == .ask)
    }

    @Test func aRequestThatIsWithdrawnInTimeLeavesNothing() {
        var machine = asking
        machine.withdrawn(taken: false)
        #expect(machine.phase == .running)
        #expect(machine.observe(.running, at: 1) == .nothing)
    }

    @Test func aGuestThatSuspendsAfterTheWithdrawalIsResumed() {
        var machine = asking
        machine.withdrawn(taken: true)
        #expect(machine.observe(.running, at: 1) == .nothing)
        #expect(machine.observe(.suspended, at: 2) == .resume)
        machine.resumed()
        #expect(machine.phase == .running)
        #expect(!machine.isVoid)
    }

    @Test func aNewRequestTakesTheLateSuspendForItsOwn() {
        var machine = asking
        machine.withdrawn(taken: true)
        #expect(machine.request(.running, at: 1) == .wait)
        #expect(machine.observe(.suspended, at: 2) == .suspended)
    }

    @Test func anotherToolsSuspendIsLeftAloneAndVoidsWhatIsKnown() {
        var machine = SuspendMachine()
        machine.foreignRequest()
        #expect(machine.isVoid)
        #expect(machine.observe(.suspended, at: 1) == .paused)
        #expect(machine.phase == .foreign)
        #expect(machine.request(.suspended, at: 2) == .impossible(.paused))
        #expect(machine.request(.running, at: 3) == .ask)
        #expect(machine.isVoid)
        machine.trackingRestarted()
        #expect(!machine.isVoid)
    }

    @Test func aSuspendWithoutARequestSeenVoidsToo() {
        var machine = SuspendMachine()
        #expect(machine.observe(.suspended, at: 1) == .paused)
        #expect(machine.isVoid)
        #expect(machine.observe(.running, at: 2) == .nothing)
        #expect(machine.phase == .running)
    }

    @Test func aSuspendThatTwoAskedForIsHandedOver() {
        var machine = asking
        machine.handOver()
        #expect(machine.phase == .asked)
        #expect(machine.observe(.suspended, at: 1) == .suspended)
        machine.handOver()
        #expect(machine.isVoid)
        #expect(machine.observe(.suspended, at: 2) == .paused)
        #expect(machine.request(.running, at: 3) == .ask)
    }

    @Test func aDeadPredecessorsSuspendIsUndone() {
        var machine = SuspendMachine()
        machine.predecessorUntil = 100
        #expect(machine.observe(.suspended, at: 99) == .resume)
        machine.resumed()
        #expect(machine.request(.suspended, at: 99) == .resumeFirst)
        #expect(machine.request(.suspended, at: 100) == .impossible(.paused))
    }

    @Test func aForeignRequestIsNoPredecessors() {
        var machine = SuspendMachine()
        machine.predecessorUntil = 100
        machine.foreignRequest()
        #expect(machine.observe(.suspended, at: 1) == .paused)
    }

    @Test func pausedIsAState() {
        var machine = SuspendMachine()
        #expect(machine.request(.paused, at: 0) == .impossible(.paused))
        machine = asking
        #expect(machine.observe(.paused, at: 1) == .paused)
    }

    @Test func whatSomebodyElseResumesIsNoCheckpoint() {
        var machine = asking
        #expect(machine.observe(.suspended, at: 1) == .suspended)
        #expect(machine.observe(.running, at: 2) == .nothing)
        #expect(machine.isVoid)
    }

    @Test(arguments: [
        (LifeState.ended(.shutdown), GuestEnd.shutdown), (.ended(.reboot), .reboot),
        (.ended(.crashed), .crashed),
        // Destroyed: its image is kept.
        (.gone, .crashed),
    ])
    func ends(_ state: LifeState, _ end: GuestEnd) {
        var machine = asking
        #expect(machine.observe(state, at: 1) == .ended(end))
        #expect(machine.request(state, at: 2) == .impossible(.ended(end)))
    }
}
