import Checkpoint
import Glibc
import Logging
import Synchronization
import SystemSupport

/// A guardian beside this `remusd protect`: one is started, another when it dies, and it is dismissed at a normal end. The lease
/// is the pipe over which it is told what it must know.
package final class GuardianLease: Sendable {
    /// A process that has lived so long, in nanoseconds, did not fail at its start.
    private static let steadyAfter: UInt64 = 30_000_000_000

    private struct State {
        var pid: Int32 = 0
        var lease: Descriptor?
        /// What a guardian that comes later must be told too.
        var isSteady = false
    }

    private let program: String
    private let arguments: [String]
    private let logPath: String
    private let log: Logger
    private let state = Mutex(State())
    private let stop: EventFD
    private let thread = Mutex(WorkerThread?.none)

    /// Starts the guardian of a Xen guest that this process protects: before the guest is suspended for the first time. nil for an
    /// embedded guest, which runs on by itself.
    /// - Parameter arguments: for another process like this one.
    package static func start(
        for target: GuestTarget,
        _ protection: ProtectService,
        arguments: [String],
        _ paths: Paths
    ) throws(SystemError) -> GuardianLease? {
        guard case .xen(let name, let found) = target else { return nil }
        var log = Logger(label: "protect")
        log[metadataKey: "guest"] = "\(name)"
        let task = GuardianTask(
            guest: found,
            protect: getpid(),
            startTime: ProcessHandle.startTime(of: getpid()) ?? 0,
            restarts: Paths.environment(GuardianTask.restartsVariable).flatMap { Int($0) } ?? 0,
            standsStill: protection.options.settings.standsStill,
            arguments: arguments
        )
        let lease = try GuardianLease(
            arguments: task.commandLine,
            logPath: paths.guardianLog(name),
            log: log
        )
        try WorkerThread("steady") {
            let began = Clock.monotonic
            while !lease.isOver {
                let isSteady = [.protected, .unacknowledged].contains(protection.status.state)
                if isSteady || Clock.monotonic - began > Self.steadyAfter {
                    return lease.steady()
                }
                usleep(200_000)
            }
        }
        .detach()
        return lease
    }

    /// Starts a guardian.
    /// - Parameters:
    ///   - program: what to run with `arguments`; it inherits the lease as descriptor 3.
    ///   - logPath: where its standard error goes, appended.
    package init(
        program: String = ChildProcess.ownPath,
        arguments: [String],
        logPath: String,
        log: Logger
    ) throws(SystemError) {
        self.program = program
        self.arguments = arguments
        self.logPath = logPath
        self.log = log
        stop = try EventFD()
        let first = try start()
        let worker = try WorkerThread("guardian") { [self] in
            var process: ProcessHandle? = first
            while let current = process { process = successor(of: current) }
        }
        thread.withLock { $0 = worker }
    }

    /// Waits for a guardian's end, and starts another.
    /// - Returns: that one; nil when guardians are needed no more.
    private func successor(of process: ProcessHandle) -> ProcessHandle? {
        while !process.hasEnded {
            var entries = (
                Poll.Entry(process.descriptor.raw), Poll.Entry(stop.descriptor.raw), Poll.Entry(-1)
            )
            Poll.wait(&entries, nanoseconds: 3_600_000_000_000)
            if entries.1.isReady { return nil }
        }
        ChildProcess.reap(process.pid)
        log.warning("the guardian is gone; starting another", metadata: ["pid": "\(process.pid)"])
        while !Poll.wait(stop.descriptor.raw, milliseconds: 100) {
            do throws(SystemError) {
                return try start()
            } catch {
                log.error("no guardian: \(error)")
            }
        }
        return nil
    }

    private var isOver: Bool { Poll.wait(stop.descriptor.raw, milliseconds: 0) }

    /// The guardian's process number.
    package var pid: Int32 { state.withLock { $0.pid } }

    /// This process works: if it dies now, that is the first time in a row.
    package func steady() {
        state.withLock {
            guard !$0.isSteady else { return }
            $0.isSteady = true
            Self.tell($0.lease, PrimaryGuardian.Word.steady)
        }
    }

    /// Sends the guardian away: protection has ended, and the guest runs.
    package func dismiss() {
        stop.signal()
        thread.withLock { exchange(&$0, with: nil) }?.join()
        let (pid, lease) = state.withLock { ($0.pid, $0.lease) }
        Self.tell(lease, PrimaryGuardian.Word.dismiss)
        if let process = try? ProcessHandle(pid: pid), !process.waitForEnd(milliseconds: 2000) { return }
        ChildProcess.reap(pid)
    }

    private func start() throws(SystemError) -> ProcessHandle {
        let (reading, writing) = try Pipe.create()
        let pid = try ChildProcess.spawnDetached(
            program,
            arguments,
            errors: try? SmallFile.openLog(logPath),
            inherited: [GuardianTask.leaseNumber: reading]
        )
        let process = try ProcessHandle(pid: pid)
        state.withLock {
            ($0.pid, $0.lease) = (pid, writing)
            if $0.isSteady { Self.tell(writing, PrimaryGuardian.Word.steady) }
        }
        return process
    }

    /// A guardian that is gone hears nothing; the next one is told anew.
    private static func tell(_ lease: Descriptor?, _ word: UInt8) {
        guard let lease else { return }
        var word = word
        _ = write(lease.raw, &word, 1)
    }
}
