import Checkpoint
import Glibc
import Logging
import SystemSupport
import XenHost

/// What a guardian is told on its command line, by the `remusd protect` that it watches.
package struct GuardianTask: Sendable {
    /// The number under which a guardian inherits the lease.
    package static let leaseNumber: Int32 = 3
    /// The hidden subcommand.
    package static let command = "primary-guardian"
    /// Tells a `protect` that a guardian started how many restarts in a row came before it.
    package static let restartsVariable = "REMUSD_RESTARTS"

    package let guest: FoundGuest
    /// The process to watch, and its start time (`ProcessHandle.startTime`).
    package let protect: Int32
    package let startTime: UInt64
    package let restarts: Int
    /// The guest stands still, while nobody protects it and its output is held (`ProtectSettings.standsStill`).
    package let standsStill: Bool
    /// `protect`'s own command line, without the program and what only detaches.
    package let arguments: [String]

    package init(
        guest: FoundGuest,
        protect: Int32,
        startTime: UInt64,
        restarts: Int,
        standsStill: Bool,
        arguments: [String]
    ) {
        self.standsStill = standsStill
        self.guest = guest
        self.protect = protect
        self.startTime = startTime
        self.restarts = restarts
        self.arguments = arguments
    }

    /// The guardian's command line.
    package var commandLine: [String] {
        [
            Self.command, "--guest", guest.name, "--domain", "\(guest.domain)", "--uuid", "\(guest.uuid)",
            "--protect", "\(protect)", "--started", "\(startTime)", "--restarts", "\(restarts)",
        ] + (standsStill ? ["--stands-still"] : []) + ["--"] + arguments
    }

    /// The guardian's life; blocks.
    package func run(_ paths: Paths) throws -> PrimaryGuardian.Outcome {
        var log = Logger(label: "guardian")
        log[metadataKey: "guest"] = "\(guest.name)"
        let name = try GuestName(guest.name)
        Self.standApart()
        // Found now, not when every millisecond counts.
        if let why = XenLibraries.whyNot { log.error("cannot reach Xen: \(why)") }
        let process = try findProtect()
        log.notice("watching", metadata: ["pid": "\(protect)", "restarts": "\(restarts)"])
        let guardian = PrimaryGuardian(
            watching: process,
            lease: Descriptor(owning: Self.leaseNumber),
            restarts: restarts,
            hands: XenHands(task: self, name: name, paths: paths),
            log: log
        )
        let outcome = guardian.run()
        log.notice("leaving", metadata: ["outcome": "\(outcome)"])
        return outcome
    }

    /// The process to watch; nil if it has ended.
    private func findProtect() throws(SystemError) -> ProcessHandle? {
        do throws(SystemError) {
            return try ProcessHandle(pid: protect, startTime: startTime)
        } catch {
            if error.code == ESRCH { return nil }
            throw error
        }
    }

    /// Out of reach of what ends the daemon: the OOM killer, and a service manager that ends a service's whole cgroup.
    /// What is not permitted is left as it is.
    private static func standApart() {
        try? SmallFile.overwrite("/proc/self/oom_score_adj", with: "-1000")
        let group = SmallFile.read("/proc/self/cgroup") ?? ""
        guard group.split(separator: "\n").contains(where: { $0.hasSuffix(".service") }) else { return }
        try? SmallFile.overwrite("/sys/fs/cgroup/cgroup.procs", with: "\(getpid())")
    }
}

/// The guardian's hands on a real host.
private struct XenHands: GuardianHands {
    let task: GuardianTask
    let name: GuestName
    let paths: Paths

    func takeGuest() -> FileLock? { try? GuestLock.take(task.guest) }

    func repair(patience: UInt64) throws -> XenRecovery.Finding {
        try XenRecovery.repair(
            domain: task.guest.domain,
            uuid: task.guest.uuid,
            patience: patience,
            standsStill: mustStandStill
        )
    }

    var mustStandStill: Bool { task.standsStill && OutputKeeping.mayBeHeld(task.guest) }

    func dropOutput() { OutputKeeping.drop(task.guest) }

    func restart(count: Int) throws -> Int32 {
        let variable = "\(GuardianTask.restartsVariable)="
        return try ChildProcess.spawnDetached(
            ChildProcess.ownPath,
            task.arguments,
            errors: SmallFile.openLog(paths.primaryLog(name)),
            environment: ChildProcess.environment.filter { !$0.hasPrefix(variable) } + ["\(variable)\(count)"]
        )
    }

    func isServed() -> Bool {
        guard let path = try? paths.primarySocket(name) else { return false }
        let client = ControlClient(path: path)
        return (try? client.get("/v1/status", as: [GuestStatus].self, timeout: .seconds(2))) != nil
    }
}
