import Checkpoint
import Glibc
import Logging
import Synchronization
import SystemSupport
import XenHost

/// What `remusd protect` of a Xen guest has besides the protection itself: the guest's lock, and a guardian. For an embedded guest
/// nothing: it runs on by itself, and its connection has one end only.
package final class GuardianPost: Sendable {
    private let target: GuestTarget
    private let paths: Paths
    private let hold: SocketLock?
    private let keeper = Mutex(GuardianKeeper?.none)
    private let left = Latch()

    /// Takes the guest's lock, for which a guardian that is putting the guest right is waited for.
    /// - Throws: `GuestError` if another `protect` has it.
    package init(_ target: GuestTarget, paths: Paths) throws {
        self.target = target
        self.paths = paths
        guard case .xen(let name, _) = target else {
            hold = nil
            return
        }
        let path = paths.primaryHold(name)
        let deadline = Clock.monotonic + 3_000_000_000
        var lock = try SocketLock(path: path)
        while lock == nil, Clock.monotonic < deadline {
            usleep(10_000)
            lock = try SocketLock(path: path)
        }
        guard let lock else {
            throw GuestError(
                guest: name.text,
                reason: "another remusd protect has it, see 'remusd status \(name)'"
            )
        }
        hold = lock
    }

    /// Starts the guardian: before the guest is suspended for the first time.
    /// - Parameter arguments: this process's command line, for another one like it.
    package func start(_ protection: ProtectService, arguments: [String]) throws {
        guard case .xen(let name, let found) = target else { return }
        var log = Logger(label: "protect")
        log[metadataKey: "guest"] = "\(name)"
        let task = GuardianTask(
            guest: name,
            domain: found.domain,
            uuid: found.uuid,
            protect: getpid(),
            startTime: ProcessHandle.startTime(of: getpid()) ?? 0,
            restarts: Paths.environment(GuardianTask.restartsVariable).flatMap { Int($0) } ?? 0,
            arguments: arguments
        )
        let keeper = try GuardianKeeper(
            arguments: task.commandLine,
            logPath: paths.guardianLog(name),
            log: log
        )
        self.keeper.withLock { $0 = keeper }
        _ = try WorkerThread("steady") { [left] in
            while !left.isSet {
                if protection.status.state == .protected { return keeper.steady() }
                usleep(200_000)
            }
        }
    }

    /// The end, on purpose: the guest runs, and nobody need watch.
    package func leave() {
        left.set()
        keeper.withLock { exchange(&$0, with: nil) }?.dismiss()
    }
}
