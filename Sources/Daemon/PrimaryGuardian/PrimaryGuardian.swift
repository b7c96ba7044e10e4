import Checkpoint
import Glibc
import Logging
import SystemSupport
import XenHost

/// What a guardian does to a guest, and to get it protected again.
package protocol GuardianHands: Sendable {
    /// The right to suspend and resume the guest, as long as the result lives; nil if a living process has it.
    func takeGuest() -> FileLock?
    /// Puts the guest right: resumes it, withdraws what was asked of it, ends log-dirty.
    /// - Parameter patience: nanoseconds to wait for a suspend that may still come.
    func repair(patience: UInt64) throws -> XenRecovery.Finding
    /// Whether the guest must not run while nobody protects it: it may be running elsewhere, and both could write to one disk. `repair`
    /// pauses it then, and else takes back what `protect` had paused.
    var mustStandStill: Bool { get }
    /// Drops what is held of a guest that is gone: its interfaces cannot go before that.
    func dropOutput()
    /// Starts `remusd protect` again, detached.
    /// - Parameter count: how many restarts in a row this makes.
    /// - Returns: its process number; it is a child.
    func restart(count: Int) throws -> Int32
    /// Whether a `remusd protect` answers for the guest.
    func isServed() -> Bool
}

/// Watches one `remusd protect` of a Xen guest and acts once it is dead, and every process of its engine, which hold the guest's
/// lock with it: the guest runs again at once, or stands still where it must, and is protected again. While it lives the guardian only watches: there are never two who resume.
///
/// Never lets the guest's output go: what is held stays held, so it is safe to resume with an ack unknown. Of a guest that is gone it is
/// dropped.
package final class PrimaryGuardian {
    /// How its task ended.
    package enum Outcome: Equatable, Sendable {
        /// Protection ended on purpose.
        case dismissed
        /// Another `remusd protect` has the guest.
        case superseded
        /// Protection is back; the new process has a guardian of its own.
        case restored
        /// The guest is gone, or its new protection ended as planned.
        case over
        /// It did not come back. The guest runs, its output is held.
        case givenUp
    }

    /// How often protection is tried to be brought back by guardians in a row.
    package static let restartLimit = 3
    /// How much longer is waited between two tries beyond those, of a guest that stands still: nobody else would let it run.
    static let longPauses: UInt32 = 30
    /// What the keeper says over the lease, one byte each.
    enum Word {
        static let dismiss: UInt8 = 0x64, steady: UInt8 = 0x73
    }

    private let protect: ProcessHandle?
    private let lease: Descriptor
    private let hands: any GuardianHands
    private let log: Logger
    /// Restarts in a row that never came to a protected guest.
    private var restarts: Int
    private var isDismissed = false
    private var leaseIsOpen = true
    private let pause: UInt32
    private let lockPatience: UInt64

    /// - Parameters:
    ///   - protect: the process to watch; nil if it has died already.
    ///   - lease: the reading end of the keeper's pipe.
    ///   - restarts: how many restarts in a row came before this process.
    ///   - pause: microseconds before a try that is not the first.
    ///   - lockPatience: nanoseconds that the right to the guest is waited for.
    package init(
        watching protect: ProcessHandle?,
        lease: Descriptor,
        restarts: Int,
        hands: any GuardianHands,
        log: Logger,
        pause: UInt32 = 1_000_000,
        lockPatience: UInt64 = 30_000_000_000
    ) {
        self.protect = protect
        self.lease = lease
        self.restarts = restarts
        self.hands = hands
        self.log = log
        self.pause = pause
        self.lockPatience = lockPatience
    }

    /// Watches, and does what is to be done; blocks.
    package func run() -> Outcome {
        listen()
        while !isDismissed, protect?.hasEnded == false {
            var entries = (
                Poll.Entry(protect?.descriptor.raw ?? -1), Poll.Entry(leaseIsOpen ? lease.raw : -1),
                Poll.Entry(-1)
            )
            Poll.wait(&entries, nanoseconds: 3_600_000_000_000)
            listen()
        }
        // Its last word may be in the pipe.
        listen()
        if isDismissed { return .dismissed }
        var died = Clock.monotonic
        log.warning("protect died", metadata: ["pid": "\(protect?.pid ?? 0)"])
        var outcome: Outcome?
        while outcome == nil {
            outcome = act(since: died)
            // Of the one that was started meanwhile.
            died = Clock.monotonic
        }
        return outcome ?? .givenUp
    }

    /// Puts the guest right and brings protection back, once.
    /// - Returns: nil if it must be done again.
    private func act(since died: UInt64) -> Outcome? {
        guard let finding = repair(since: died) else { return .superseded }
        if finding == .gone {
            hands.dropOutput()
            log.notice("the guest is gone; nothing is left to do")
            return .over
        }
        let isLate = restarts >= Self.restartLimit
        if isLate, !hands.mustStandStill { return giveUp() }
        if isLate { sayItStandsStill() }
        restarts += 1
        if restarts > 1 { usleep(isLate ? pause * Self.longPauses : pause) }
        return bringBack()
    }

    // MARK: Listening

    private func listen() {
        while leaseIsOpen, Poll.wait(lease.raw, milliseconds: 0) {
            var word: UInt8 = 0
            let count = read(lease.raw, &word, 1)
            if count < 0, errno == EINTR { continue }
            guard count == 1 else {
                leaseIsOpen = false
                return
            }
            switch word {
            case Word.dismiss: isDismissed = true
            case Word.steady: restarts = 0
            default: break
            }
        }
    }

    // MARK: Acting

    /// Puts the guest right, holding its lock: no `protect` can have it meanwhile.
    /// - Returns: nil if a living one has it.
    private func repair(since died: UInt64) -> XenRecovery.Finding? {
        guard let owner = takeGuest() else {
            log.notice("another protect has the guest; nothing is left to do")
            return nil
        }
        defer { withExtendedLifetime(owner) {} }
        var finding: XenRecovery.Finding?
        while finding == nil {
            do {
                finding = try hands.repair(patience: 300_000_000)
            } catch {
                // Nobody else will do it.
                log.error("cannot put the guest right, will try again: \(error)")
                usleep(200_000)
            }
        }
        log.notice(
            "the guest is put right",
            metadata: [
                "at_death": "\(finding.map(Self.text) ?? "")",
                "after_ms": "\((Clock.monotonic - died) / 1_000_000)",
            ]
        )
        return finding
    }

    private static func text(_ finding: XenRecovery.Finding) -> String {
        switch finding {
        case .resumed: "suspended"
        case .withdrawn: "suspend-pending"
        case .clean: "running"
        case .gone: "gone"
        }
    }

    /// The right to the guest. What has it for a moment is waited for: another guardian, or an engine that is dying; but not
    /// a `protect` that answers, nor one that has not come up after half a minute.
    private func takeGuest() -> FileLock? {
        let began = Clock.monotonic
        while Clock.monotonic < began + lockPatience {
            if let lock = hands.takeGuest() { return lock }
            usleep(10_000)
            if Clock.monotonic > began + 1_000_000_000, hands.isServed() { return nil }
        }
        return nil
    }

    /// Starts `protect` again and watches over it until it has come up, with a guardian of its own.
    /// - Returns: nil if it has not.
    private func bringBack() -> Outcome? {
        let pid: Int32
        do {
            pid = try hands.restart(count: restarts)
        } catch {
            log.error("cannot start protect again: \(error)", metadata: ["try": "\(restarts)"])
            return nil
        }
        log.notice("protect is started again", metadata: ["pid": "\(pid)", "try": "\(restarts)"])
        guard let process = try? ProcessHandle(pid: pid) else { return ended(pid) }
        let deadline = Clock.monotonic + 60_000_000_000
        while !process.waitForEnd(milliseconds: 50) {
            if hands.isServed() || Clock.monotonic > deadline {
                log.notice("protection is back", metadata: ["pid": "\(pid)"])
                return .restored
            }
        }
        return ended(pid)
    }

    private func ended(_ pid: Int32) -> Outcome? {
        let end = ChildProcess.reap(pid)
        if end == .exited(0) { return .over }
        log.error(
            "protect ended again",
            metadata: [
                "pid": "\(pid)", "end": "\(end?.description ?? "unknown")", "try": "\(restarts)",
            ]
        )
        return nil
    }

    private func sayItStandsStill() {
        log.critical(
            """
            UNPROTECTED: protect does not come back. The guest is PAUSED: nobody replicates a disk of it, and it may be running \
            elsewhere. Protect it again; it is tried again until then
            """,
            metadata: ["try": "\(restarts + 1)"]
        )
    }

    private func giveUp() -> Outcome {
        log.critical(
            """
            UNPROTECTED: protect does not come back. The guest runs; what it sends is held. Protect it again, or unprotect it
            """
        )
        // A suspend that was asked for may come late, and nobody else waits for it.
        if let owner = takeGuest() {
            _ = try? hands.repair(patience: 20_000_000_000)
            withExtendedLifetime(owner) {}
        }
        return .givenUp
    }
}
