import Checkpoint
import Glibc
import Histogram
import Logging
import Synchronization
import SystemSupport

/// `remusd protect`: one guest's protection in this process, with its durable record and its control socket.
package final class ProtectService: Sendable {
    package let guest: GuestName
    let options: ProtectOptions
    let paths: Paths
    let engine: ProtectEngine
    private let tracking: String
    private let reader: EngineChoice?
    private let caveats: [String]
    /// Nobody else of this host's takes hold of the guest until `run` returns.
    private let lock: Mutex<FileLock?>
    private let memoryBytes: UInt64
    let uuid: GuestUUID
    private let address: String
    let start: PrimaryStart
    /// A protection of this guest that follows in this process goes on with them.
    package let hooks: HookRunner
    private let ended = Monitor(ProtectResult?.none)
    let log: Logger

    /// Takes control of the guest and writes down a generation of its own, without touching the guest's work yet.
    /// - Parameter hooks: those of the protection before this one, in this process.
    package init(
        _ target: GuestTarget,
        _ options: ProtectOptions,
        paths: Paths,
        hooks predecessors: HookRunner? = nil
    ) throws {
        guest = target.name
        self.options = options
        if options.xlPeer == nil { options.address.lookUpFirst(within: .seconds(5)) }
        self.paths = paths
        var log = Logger(label: "protect")
        log[metadataKey: "guest"] = "\(target.name)"
        self.log = log
        let opened = try OpenedGuest(target, options, paths: paths)
        let description = opened.guest.description
        tracking = opened.tracking
        reader = opened.engine
        caveats = opened.caveats
        for warning in opened.warnings { log.warning("\(warning)") }
        lock = Mutex(opened.lock)
        uuid = description.uuid
        address = description.address
        memoryBytes = UInt64(opened.guest.ramPages * guestPageSize)
        let records = GenerationStore(
            paths,
            target.name,
            description,
            peer: options.standby,
            aloneAfter: options.settings.aloneAfter,
            arbiter: options.arbiterChoice,
            link: options.xlPeer == nil ? options.security.mode : nil
        )
        if let vouched = options.ifGeneration {
            log.critical(
                "somebody vouches that the guest is over where the arbiter says it is",
                metadata: ["generation": "\(vouched)"]
            )
        }
        start = try Self.audited(target.name, description.uuid, options, paths, log) {
            try records.begin(plugWasClosed: opened.output.wasClosed, vouched: options.ifGeneration)
        }
        hooks = predecessors ?? HookRunner(options.hooks, paths, role: .primary, target.name, log)
        engine = try ProtectEngine(
            guest: opened.guest,
            output: opened.output,
            options: options,
            identity: PrimaryIdentity(guestPID: opened.pid),
            start: start,
            records: records,
            hooks: hooks,
            log: log
        )
    }

    /// Begins, if by somebody's word, with that written down first.
    private static func audited(
        _ guest: GuestName,
        _ uuid: GuestUUID,
        _ options: ProtectOptions,
        _ paths: Paths,
        _ log: Logger,
        _ begin: () throws -> PrimaryStart
    ) throws -> PrimaryStart {
        guard let vouched = options.ifGeneration else { return try begin() }
        var said = AuditEntry.Word()
        said.ifGeneration = vouched
        let entry = AuditEntry(.protect, guest, uuid: uuid.description, said: said, who: Speaker(.own))
        return try Audit(paths).witness(entry, log, failure: "failed", begin) {
            ("begun", "a protection begins", $0.generation)
        }
    }

    /// Protects until a planned end; blocks. The control socket answers meanwhile.
    package func run() throws -> ProtectResult {
        let server = try ControlServer(path: try paths.primarySocket(guest), handler: router.handle)
        defer { server.stop() }
        log.notice(
            "protecting",
            metadata: [
                "standby": "\(options.standby)", "interval": "\(IntervalChoice(options.settings))",
                "dirty_tracking": "\(tracking)", "engine": "\(reader?.rawValue ?? "-")",
            ].merging(options.thread.metadata) { $1 }
        )
        if start.outdatedBy != nil {
            // The machine says so, loudly.
        } else if start.imageElsewhere {
            let other = start.otherStandby.map {
                "the image at \($0) may still be activated; protect with --to \($0) again and unprotect there to go on sooner"
            }
            log.warning(
                """
                output stays held, and \(options.standby) is not connected to yet: \
                \(other ?? "no record says which standby has an image, and that may still be activated"). \
                \(permission)
                """
            )
        } else if let recorded = start.recordedAloneAfter, recorded > options.settings.aloneAfter {
            log.notice(
                "the standby's image trusts --alone-after \(recorded): it counts until the image is replaced"
            )
        }
        resumeHooks()
        let progress = WorkerProgress(engine, label: "syncing \(guest)")
        let result = options.thread.run(log) { engine.run() }
        progress.end()
        ended.signal { $0 = result }
        // Whoever asked to unprotect gets the answer before the socket goes.
        usleep(100_000)
        lock.withLock { $0 = nil }
        return result
    }

    /// What an earlier protect's hooks were not told.
    private func resumeHooks() {
        hooks.takeUp()
        guard let outdatedBy = start.outdatedBy else { return }
        var call = HookCall(.postOutdated, guest: guest.text, uuid: uuid.description)
        call.roleOld = .primary
        call.state = .outdated
        call.generation = outdatedBy
        call.peer = options.standby.description
        hooks.ensure(call)
    }

    /// Begins a planned end; `run` returns when it is done.
    package func unprotect() { engine.requestUnprotect() }

    /// How a protection ended, for people.
    package func text(of result: ProtectResult) -> String {
        ProtectReporting.text(result, generation: engine.snapshot.status.generation)
    }

    // MARK: Control

    private var router: ControlRouter {
        var router = ControlRouter()
        router.on("GET", "/v1/status") { [self] _, _ in .encoding([status]) }
        router.on("POST", "/v1/unprotect") { [self] _, _ in
            unprotect()
            let patience = engine.snapshot.status.aloneAfter + Aftermath.limit + .seconds(5)
            let result = ended.wait(until: Clock.monotonic + patience.nanoseconds) { $0 }
            return .encoding(reply(result))
        }
        router.on("POST", "/v1/continue") { [self] request, _ in
            .encoding(goOn(try request.decode(ContinueRequest.self), by: request.speaker))
        }
        router.on("POST", "/v1/resolve") { [self] request, _ in
            .encoding(resolve(try request.decode(ResolveRequest.self), by: request.speaker))
        }
        return router
    }

    /// What gives a held guest its output back.
    private var permission: String {
        switch options.settings.arbitration {
        case .preferPrimary: "The guest goes on after \(engine.snapshot.status.aloneAfter)"
        case .arbiter(decides: true) where !start.isUnknown: "The arbiter is asked"
        case .arbiter: "It goes on by somebody's word: remusd continue \(guest) --confirm-fenced STANDBY"
        }
    }

    private func reply(_ result: ProtectResult?) -> UnprotectReply {
        guard let result else {
            return UnprotectReply(
                outcome: .pending,
                message: "the standby has not answered yet; output stays held"
            )
        }
        let generation = engine.snapshot.status.generation
        switch result {
        case .ended(_, .dropped):
            return UnprotectReply(outcome: .ended, peer: "dropped at generation \(generation + 1)")
        case .ended(_, .kept): return UnprotectReply(outcome: .ended, peer: "image kept")
        case .unanswered: return UnprotectReply(outcome: .alone, message: text(of: result))
        case .nothingToDrop, .outdated, .refused, .failed, .denied, .noGrant:
            return UnprotectReply(outcome: .ended, message: text(of: result))
        }
    }

    /// The guest as `status` shows it.
    package var status: GuestStatus {
        let snapshot = engine.snapshot
        let now = Instant(nanoseconds: Clock.boot)
        let machine = snapshot.status
        var status = GuestStatus(
            guest: guest.description,
            uuid: uuid.description,
            role: .primary,
            state: isUnacknowledged && machine.protected ? .unacknowledged : GuestState(machine.state),
            protected: machine.protected && !isUnacknowledged && snapshot.leaks.isEmpty,
            generation: machine.generation,
            session: String(machine.session, radix: 16),
            epoch: .init(sent: machine.sent, acked: machine.acked, committed: machine.acked),
            lastAckAgeMs: machine.lastAck.map { (now - $0).milliseconds },
            heldBytes: UInt64(snapshot.held.bytes),
            reasons: snapshot.leaks + reasons(machine, snapshot.linkFailure, now) + troubles(snapshot)
                + caveats
        )
        status.linkFailure = snapshot.linkFailure?.rawValue
        status.lastContactAgeMs = snapshot.lastContact.map { (now - $0).milliseconds }
        status.heldPackets = snapshot.held.packets.map { UInt64($0) }
        status.droppedPackets = snapshot.held.dropped
        status.heldPercent = snapshot.held.fillPercent.map { UInt64($0) }
        let meters = snapshot.meters
        status.peer = options.xlPeer?.host ?? options.standby.description
        status.transport = snapshot.transport
        status.address = address
        status.intervalMs = machine.interval.milliseconds
        status.latencyTargetMs = options.settings.latencyTarget?.milliseconds
        status.pages = .init(
            dirtyLast: UInt64(meters.lastDirty),
            sentTotal: UInt64(meters.pagesSent),
            dirtyP50: meters.dirtyPages.totalCount > 0 ? meters.dirtyPages.valueAtPercentile(50) : nil,
            streamBytes: meters.streamBytes,
            wireBytes: meters.wireBytes
        )
        if meters.pause.totalCount > 0 {
            status.pause = .init(
                p50: meters.pause.valueAtPercentile(50),
                p99: meters.pause.valueAtPercentile(99),
                last: meters.lastPause
            )
        }
        if meters.outputLatency.totalCount > 0 {
            status.outputLatencyUs = .init(
                p50: meters.outputLatency.valueAtPercentile(50),
                p99: meters.outputLatency.valueAtPercentile(99)
            )
        }
        status.dirtyTracking = tracking
        status.engine = reader?.rawValue
        status.arbiter = options.arbiterChoice.map {
            GuestStatus.Arbiter(
                name: $0.name,
                decides: $0.decides,
                isAsking: machine.isAsking,
                lastAnswer: machine.arbiterTrouble
            )
        }
        status.memoryBytes = memoryBytes
        if machine.state == .syncing {
            status.sync = .init(donePages: UInt64(snapshot.syncDone), totalPages: UInt64(snapshot.syncTotal))
        }
        status.since = snapshot.since
        return status
    }

    /// The other side's xl cannot say what has become of an epoch.
    private var isUnacknowledged: Bool { options.xlPeer != nil }

    private func reasons(_ machine: ProtectStatus, _ failure: LinkFailure?, _ now: Instant) -> [String] {
        var reasons: [String] = []
        switch machine.state {
        case .protected where isUnacknowledged:
            reasons.append(
                "\(options.standby.host) has each epoch before its output goes, but its xl acknowledges none: whether it "
                    + "could start the guest is not known"
            )
        case .protected where machine.isAsking:
            reasons.append(
                "NOT PROTECTED: a request to the arbiter is not answered; if it was granted, the standby may not activate"
            )
        case .protected: break
        case .starting, .connecting: reasons.append("UNPROTECTED: no session with the standby yet")
        case .syncing:
            reasons.append(
                machine.plugClosed
                    ? "the initial sync is not complete; output is held"
                    : "UNPROTECTED: the initial sync is not complete"
            )
        case .suspendRefused: reasons.append("NOT PROTECTED: the guest does not suspend; its output is held")
        case .peerLost where machine.imageElsewhere:
            reasons.append(
                start.otherStandby.map {
                    "NOT PROTECTED: output is held because the image at \($0) may still be activated; wait, or protect "
                        + "with --to that standby again and unprotect there first"
                }
                    ?? "NOT PROTECTED: output was held when protection began, and no record says for which standby's "
                    + "image: that may still be activated"
            )
            reasons += standstillReasons(machine) + waitingReasons(machine)
            if let at = machine.aloneAt {
                reasons.append("goes on, and to \(options.standby), in \((at - now).rounded)")
            }
            return reasons
        case .peerLost:
            let why = failure.map { " (\($0.rawValue))" } ?? ""
            reasons.append("NOT PROTECTED: the standby does not answer\(why); output is held")
        case .alone:
            reasons.append("UNPROTECTED: the guest goes on alone at generation \(machine.generation)")
        case .outdated:
            reasons.append("OUTDATED: the guest is active elsewhere; this copy's output is dropped: stop it")
        case .splitBrain: reasons.append("SPLIT BRAIN: the guest is active at the standby too")
        case .ending: reasons.append("protection is ending")
        case .ended: reasons.append("protection has ended")
        }
        reasons += standstillReasons(machine)
        if machine.guestPaused {
            reasons.append(
                "the guest is paused, or another tool has suspended it: checkpoints go on when it does"
            )
        }
        if let loss = machine.lastLoss, machine.state != .protected {
            reasons.append(LinkFailure.text(failure, of: "the standby", loss.text))
        }
        reasons += waitingReasons(machine)
        if let at = machine.aloneAt {
            reasons.append("goes on alone in \((at - now).rounded) unless the standby answers")
        }
        return reasons
    }
}

extension ProtectService {
    private func standstillReasons(_ machine: ProtectStatus) -> [String] {
        guard machine.standsStill else { return [] }
        let disks = options.unreplicatedDisks.joined(separator: ", ")
        let why =
            machine.state == .outdated
            ? "and it is active elsewhere"
            : "and the standby may have been given it: it runs again once that, the arbiter or a person says that it may"
        return ["the guest is PAUSED: nobody replicates its disk \(disks), \(why)"]
    }

    /// What a guest waits for that no time gives it.
    private func waitingReasons(_ machine: ProtectStatus) -> [String] {
        var reasons: [String] = []
        if let trouble = machine.arbiterTrouble { reasons.append("the arbiter granted nothing: \(trouble)") }
        guard machine.mayContinue else { return reasons }
        switch options.settings.arbitration {
        case .preferPrimary: break
        case .arbiter(decides: true) where machine.isAsking:
            reasons.append("goes on when the arbiter grants it")
        case .arbiter(decides: true) where !machine.imageUnknown: break
        case .arbiter:
            reasons.append(
                "goes on by somebody's word only: once the standby is off, remusd continue \(guest) --confirm-fenced "
                    + "\(engine.records.standbyNames.first ?? "STANDBY")"
            )
        }
        return reasons
    }
}

private func troubles(_ snapshot: ProtectEngine.Snapshot) -> [String] {
    var troubles: [String] = []
    if snapshot.outputOwed {
        troubles.append("output is held for longer than it must be: releasing it fails")
    }
    if snapshot.resumeOwed {
        troubles.append("the guest is SUSPENDED, or paused: letting it run fails and is tried again")
    }
    return troubles
}

extension GuestState {
    init(_ state: ProtectState) {
        switch state {
        case .starting: self = .starting
        case .connecting: self = .connecting
        case .syncing: self = .syncing
        case .protected: self = .protected
        case .suspendRefused: self = .suspendRefused
        case .peerLost: self = .peerLost
        case .alone: self = .alone
        case .outdated: self = .outdated
        case .splitBrain: self = .splitBrain
        case .ending: self = .ending
        case .ended: self = .ended
        }
    }
}

/// Shows the initial sync's progress while an engine runs.
private final class WorkerProgress: Sendable {
    private let stop: EventFD?
    private let thread: WorkerThread?

    init(_ engine: ProtectEngine, label: String) {
        let stop = try? EventFD()
        self.stop = stop
        guard let stop else {
            thread = nil
            return
        }
        thread = try? WorkerThread("progress") {
            var line: ProgressLine?
            while true {
                if Poll.wait(stop.descriptor.raw, milliseconds: 100) { break }
                let snapshot = engine.snapshot
                let page = UInt64(guestPageSize)
                let (done, total) = (UInt64(snapshot.syncDone) * page, UInt64(snapshot.syncTotal) * page)
                if snapshot.status.state == .syncing {
                    line = line ?? ProgressLine(label: label)
                    line?.update(done: min(done, total), total: total)
                } else if snapshot.status.state == .protected {
                    line?.finish(done: total, total: total)
                    line = nil
                } else {
                    line?.abandon()
                    line = nil
                }
            }
            line?.abandon()
        }
    }

    func end() {
        stop?.signal()
        thread?.join()
    }
}
