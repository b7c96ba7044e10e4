import Checkpoint
import Logging
import SystemSupport

/// Tells the operator's hooks what happens to one guest in one role: one event after another, each hook of it by name, on a
/// thread of its own. Whoever has an event to tell never waits.
package final class HookRunner: Sendable {
    /// Events that may wait; one more is said in the log, and told to nobody.
    private static let most = 64

    private struct State {
        var waiting: [HookCall] = []
        var isWorking = false
        var isStopped = false
        /// What an earlier daemon had not done with was looked for.
        var isTakenUp = false
        /// Ends what runs. There is none before something runs: a guest that is only known costs no descriptor.
        var stopping: EventFD?
        var complaints: Set<String> = []
    }

    private enum Place { case first, behindOthers, full, stopped }

    private let options: HookOptions
    private let paths: Paths
    private let role: GuestRole
    private let journal: HookJournal
    private let log: Logger
    private let state = Monitor(State())

    /// The hooks of `guest`, which this process is `role` to.
    package init(_ options: HookOptions, _ paths: Paths, role: GuestRole, _ guest: GuestName, _ log: Logger) {
        self.options = options
        self.paths = paths
        self.role = role
        self.log = log
        journal = HookJournal(path: paths.hookJournal(role, guest), guest: guest.text, log: log)
    }

    deinit { stop() }

    // MARK: post-*

    /// Tells hooks of `call`, after all that was told before. Returns at once.
    package func enqueue(_ call: HookCall) {
        let place = state.signal { state -> Place in
            guard !state.isStopped else { return .stopped }
            guard state.waiting.count < Self.most else { return .full }
            state.waiting.append(call)
            defer { state.isWorking = true }
            return state.isWorking ? .behindOthers : .first
        }
        switch place {
        case .first: break
        case .behindOthers: return
        case .full: return log.error("hooks do not keep up, and are not told of \(call.event.rawValue)")
        case .stopped: return log.warning("hooks are not told of \(call.event.rawValue): they were stopped")
        }
        do throws(SystemError) {
            try WorkerThread("hooks") { [self] in work() }.detach()
        } catch {
            state.signal { $0.isWorking = false }
            log.error("hooks are not told of \(call.event.rawValue): \(error)")
        }
    }

    /// What an earlier daemon had not done with is told again. `peer-lost` is not: whether the peer is still lost is seen
    /// anew. Only the first time: what is not done later is this daemon's own.
    package func takeUp() {
        guard !state.withLock({ exchange(&$0.isTakenUp, with: true) }) else { return }
        guard var call = journal.unfinished, call.event != .peerLost else { return }
        call.isRetry = true
        enqueue(call)
    }

    /// Tells hooks of something that is durable already, if an earlier daemon did not come to it.
    package func ensure(_ call: HookCall) {
        if journal.unfinished?.event != call.event, journal.lacks(call.event, at: call.generation) {
            enqueue(call)
        }
    }

    /// Waits until all that was enqueued is told, for as long as two hooks may take. What runs then is ended: nobody would
    /// be there at its deadline.
    package func drain() {
        guard !isIdle(within: options.timeout + options.timeout) else { return }
        log.warning("hooks are not done in time, and are ended")
        stop()
        _ = isIdle(within: .seconds(1))
    }

    private func isIdle(within patience: TimeSpan) -> Bool {
        state.wait(until: Clock.monotonic + patience.nanoseconds) { $0.isWorking ? nil : true } ?? false
    }

    /// Ends what runs, with its children. What was not told yet is told by the next daemon, as far as it was begun.
    package func stop() {
        let stopping = state.signal { state in
            state.isStopped = true
            state.waiting = []
            return state.stopping
        }
        stopping?.signal()
    }

    private func work() {
        while let call = next() {
            let hooks = hooks
            guard !hooks.isEmpty else { continue }
            let numbered = journal.begin(call)
            var isDone = true
            for hook in hooks {
                let limit = options.timeout
                let outcome = run(hook, numbered, limit, Clock.monotonic + limit.nanoseconds).outcome
                guard outcome != .stopped else {
                    // Those that were not begun are not begun now, to be killed halfway.
                    log.warning("hooks are not done with \(call.event.rawValue): they were stopped")
                    isDone = false
                    break
                }
                if outcome != .ended(.exited(0)) {
                    log.warning(
                        "a hook failed: \(outcome)",
                        metadata: ["hook": "\(hook)", "event": "\(call.event.rawValue)"]
                    )
                }
            }
            if isDone { journal.finish(numbered) }
        }
    }

    private func next() -> HookCall? {
        state.signal { state in
            guard !state.isStopped, !state.waiting.isEmpty else {
                state.isWorking = false
                return nil
            }
            return state.waiting.removeFirst()
        }
    }

    // MARK: pre-activate

    /// Asks hooks about `call`, on this thread, beside whatever else they are told at the moment: a `peer-lost` hook may
    /// well be what activates the guest.
    /// - Returns: why not; nil if none objects.
    package func veto(of call: HookCall) -> String? {
        let hooks = hooks
        guard !hooks.isEmpty else { return nil }
        let numbered = journal.begin(call, lasts: false)
        let deadline = Clock.monotonic + options.vetoTimeout.nanoseconds
        for hook in hooks {
            let (outcome, lastLine) = run(hook, numbered, options.vetoTimeout, deadline)
            guard outcome != .ended(.exited(0)) else { continue }
            let words = lastLine.isEmpty ? "" : ": \(lastLine)"
            return "\(call.event.rawValue) hook \(hook): \(outcome)\(words)"
        }
        return nil
    }

    // MARK: Running

    private var hooks: [String] {
        HookDirectory(path: options.directory).hooks { complaint in
            if state.withLock({ $0.complaints.insert(complaint).inserted }) { log.warning("\(complaint)") }
        }
    }

    private func run(_ hook: String, _ call: HookCall, _ limit: TimeSpan, _ deadline: UInt64)
        -> (outcome: HookProcess.Outcome, lastLine: String)
    {
        let (isStopped, stopping) = state.withLock { state in
            if !state.isStopped, state.stopping == nil { state.stopping = try? EventFD() }
            return (state.isStopped, state.stopping)
        }
        guard !isStopped else { return (.stopped, "") }
        guard let stopping else { return (.notStarted("no descriptor is left"), "") }
        let metadata: Logger.Metadata = [
            "hook": "\(hook)", "event": "\(call.event.rawValue)", "seq": "\(call.sequence)",
        ]
        log.info("hook", metadata: metadata)
        let process = HookProcess(
            path: hook,
            arguments: [call.event.rawValue, call.guest],
            environment: environment + call.environment
        )
        let result = process.run(limit: limit, until: deadline, stop: stopping.descriptor) { [log] line in
            log.info("hook says: \(line)", metadata: metadata)
        }
        log.debug("hook is done: \(result.outcome)", metadata: metadata)
        return result
    }

    /// What a hook gets besides the event: enough for `$REMUSD status` to ask this very remusd.
    private var environment: [String] {
        var result = [
            "REMUSD=\(ChildProcess.ownPath)", "REMUSD_RUNTIME_DIR=\(paths.runtime)",
            "REMUSD_STATE_DIR=\(paths.state)",
        ]
        let passed = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "REMUSD_LOG"]
        for name in passed {
            if let value = Paths.environment(name) { result.append("\(name)=\(value)") }
        }
        if Paths.environment("PATH") == nil {
            result.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        }
        return result
    }
}
