import Checkpoint
import Daemon
import Foundation
import Logging
import Synchronization
import SystemSupport
import Testing
import XenHost

/// What was done to a guest that is none.
private final class FakeHands: GuardianHands {
    struct State {
        var repairs = 0
        var drops = 0
        var starts = 0
        var findings: [XenRecovery.Finding] = []
        var failures = 0
        /// What is started in place of `protect`.
        var successor = ["/bin/sleep", "60"]
        var serves = true
        var started: [Int32] = []
        var holdWasTaken = true
        var standsStill = false
        /// So many starts fail, before one comes up.
        var failingStarts = 0
    }

    let state = Mutex(State())
    let hold: String

    init(hold: String) { self.hold = hold }

    func takeGuest() -> FileLock? { try? FileLock(at: hold) }

    func repair(patience: UInt64) throws -> XenRecovery.Finding {
        // The guest's lock is held meanwhile: nobody else can have it.
        let taken = (try? FileLock(at: hold)) == nil
        return try state.withLock { state in
            state.holdWasTaken = state.holdWasTaken && taken
            if state.failures > 0 {
                state.failures -= 1
                throw GuestError(guest: "web1", reason: "xenstored does not answer")
            }
            state.repairs += 1
            return state.findings.isEmpty ? .clean : state.findings.removeFirst()
        }
    }

    func dropOutput() { state.withLock { $0.drops += 1 } }

    func restart(count: Int) throws -> Int32 {
        try state.withLock { state in
            state.starts += 1
            if state.failingStarts > 0 {
                state.failingStarts -= 1
                throw GuestError(guest: "web1", reason: "no memory")
            }
            let pid = try ChildProcess.spawn(state.successor[0], Array(state.successor.dropFirst()))
            state.started.append(pid)
            return pid
        }
    }

    var mustStandStill: Bool { state.withLock { $0.standsStill } }

    func isServed() -> Bool { state.withLock { $0.serves } }

    /// Ends what was started.
    func end() {
        for pid in state.withLock({ $0.started }) {
            kill(pid, SIGKILL)
            ChildProcess.reap(pid)
        }
    }
}

@Suite struct PrimaryGuardianTests {
    private let directory: TemporaryDirectory
    private let hands: FakeHands
    private let keeper: Descriptor
    private let lease: Descriptor

    init() throws {
        // Whoever is talked to may have ended; remusd ignores the signal too.
        Signals.ignore([SIGPIPE])
        directory = try TemporaryDirectory()
        hands = FakeHands(hold: directory.path + "/hold")
        (lease, keeper) = try Pipe.create()
    }

    private func guardian(_ process: ProcessHandle?, restarts: Int = 0) -> PrimaryGuardian {
        PrimaryGuardian(
            watching: process,
            lease: lease,
            restarts: restarts,
            hands: hands,
            log: Logger(label: "guardian"),
            pause: 1000
        )
    }

    private func say(_ text: String) {
        _ = Array(text.utf8).withUnsafeBytes { write(keeper.raw, $0.baseAddress, $0.count) }
    }

    /// A process that stands for `protect`.
    private func protect() throws -> ProcessHandle {
        try ProcessHandle(pid: try ChildProcess.spawn("/bin/sleep", ["60"]))
    }

    @Test func onlyWatchesWhileProtectLives() throws {
        let process = try protect()
        say("sd")
        #expect(guardian(process).run() == .dismissed)
        #expect(hands.state.withLock { $0.repairs + $0.starts } == 0)
        process.signal(SIGKILL)
        ChildProcess.reap(process.pid)
    }

    @Test func aWordOfDismissalCountsAfterTheEndToo() throws {
        let process = try protect()
        say("d")
        process.signal(SIGKILL)
        #expect(process.waitForEnd(milliseconds: 5000))
        #expect(guardian(process).run() == .dismissed)
        ChildProcess.reap(process.pid)
    }

    @Test func putsTheGuestRightAndBringsProtectionBack() throws {
        let process = try protect()
        process.signal(SIGKILL)
        hands.state.withLock { $0.findings = [.resumed] }
        #expect(guardian(process).run() == .restored)
        #expect(hands.state.withLock { $0.repairs == 1 && $0.starts == 1 && $0.holdWasTaken })
        hands.end()
        ChildProcess.reap(process.pid)
    }

    @Test func theEndOfTheLeaseAloneIsNoDeath() throws {
        let process = try protect()
        let (reading, writing) = try Pipe.create()
        _ = consume writing
        let guardian = PrimaryGuardian(
            watching: process,
            lease: reading,
            restarts: 0,
            hands: hands,
            log: Logger(label: "guardian")
        )
        let killer = try WorkerThread("killer") {
            usleep(200_000)
            process.signal(SIGKILL)
        }
        #expect(guardian.run() == .restored)
        #expect(process.hasEnded)
        killer.join()
        hands.end()
        ChildProcess.reap(process.pid)
    }

    @Test func neverActsBesideAnotherProtect() throws {
        let other = try FileLock(at: hands.hold)
        #expect(guardian(nil).run() == .superseded)
        #expect(hands.state.withLock { $0.repairs + $0.starts } == 0)
        withExtendedLifetime(other) {}
    }

    @Test func waitsForWhatIsStillDying() throws {
        let dying = Mutex(try? FileLock(at: hands.hold))
        hands.state.withLock { $0.serves = false }
        let killer = try WorkerThread("killer") {
            usleep(1_500_000)
            dying.withLock { $0 = nil }
        }
        hands.state.withLock { $0.successor = ["/bin/true"] }
        #expect(guardian(nil).run() == .over)
        #expect(hands.state.withLock { $0.repairs } == 1)
        killer.join()
    }

    @Test func triesAgainUntilTheGuestIsRight() throws {
        hands.state.withLock { $0.failures = 2 }
        #expect(guardian(nil).run() == .restored)
        #expect(hands.state.withLock { $0.repairs } == 1)
        hands.end()
    }

    @Test func givesUpAfterThreeTriesWithTheGuestRight() throws {
        hands.state.withLock {
            $0.successor = ["/bin/false"]
            $0.serves = false
        }
        #expect(guardian(nil).run() == .givenUp)
        // Once after each death, and once more for a suspend that comes late.
        #expect(hands.state.withLock { $0.starts == 3 && $0.repairs == 5 })
    }

    @Test func aGuestThatStandsStillIsNeverGivenUp() throws {
        hands.state.withLock { ($0.standsStill, $0.failingStarts) = (true, 7) }
        #expect(guardian(nil).run() == .restored)
        #expect(hands.state.withLock { $0.starts == 8 && $0.repairs == 8 })
        hands.end()
    }

    @Test func itIsGivenUpOnceItMayRun() throws {
        hands.state.withLock { ($0.standsStill, $0.failingStarts) = (true, 1000) }
        let opener = try WorkerThread("opener") { [hands] in
            while hands.state.withLock({ $0.starts }) < 5 { usleep(1000) }
            hands.state.withLock { $0.standsStill = false }
        }
        #expect(guardian(nil).run() == .givenUp)
        opener.join()
    }

    @Test func triesOfGuardiansInARowAddUp() throws {
        #expect(guardian(nil, restarts: 3).run() == .givenUp)
        #expect(hands.state.withLock { $0.starts } == 0)
    }

    @Test func aGuestThatWasProtectedBeginsAnew() throws {
        say("s")
        #expect(guardian(nil, restarts: 3).run() == .restored)
        hands.end()
    }

    @Test func ofAGuestThatIsGoneOnlyWhatIsHeldIsDropped() throws {
        hands.state.withLock { $0.findings = [.gone] }
        #expect(guardian(nil).run() == .over)
        #expect(hands.state.withLock { $0.drops } == 1)
        #expect(hands.state.withLock { $0.starts } == 0)
    }

    @Test func aGuardianThatDiesIsReplaced() throws {
        let keeper = try GuardianLease(
            program: "/bin/sleep",
            arguments: ["60"],
            logPath: directory.path + "/log",
            log: Logger(label: "protect")
        )
        let first = keeper.pid
        kill(first, SIGKILL)
        for _ in 0..<1000 where keeper.pid == first { usleep(10_000) }
        #expect(keeper.pid != first)
        kill(keeper.pid, SIGKILL)
        keeper.dismiss()
    }

    @Test func aDismissedGuardianLeaves() throws {
        // It ends when it has read one byte of its lease.
        let keeper = try GuardianLease(
            program: "/bin/sh",
            arguments: ["-c", "head -c 1 <&3 >/dev/null"],
            logPath: directory.path + "/log",
            log: Logger(label: "protect")
        )
        let process = try ProcessHandle(pid: keeper.pid)
        keeper.dismiss()
        #expect(process.hasEnded)
    }
}
