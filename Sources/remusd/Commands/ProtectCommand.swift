import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport
import XenHost

/// `remusd protect`
struct ProtectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "protect",
        abstract: "Checkpoint a running guest to a standby, many times a second.",
        discussion: """
            Stays in the foreground until protection ends; Ctrl-C and SIGTERM are 'remusd unprotect': the standby drops \
            its image first, then held output goes out. A standby that is away is waited for; until it has the guest's \
            whole image the guest runs UNPROTECTED, and 'remusd status' says so. When the standby is lost, output is held; \
            after --alone-after the guest goes on alone, and is protected again when the standby returns. With --arbiter no time \
            lets it go on, but a grant, or 'remusd continue'.

            REMUSD_ENGINE=native|libxenguest chooses the engine where --engine does not.
            REMUSD_ENCODING=plain|lz4|delta chooses how pages are sent where --encoding does not.
            REMUSD_PLUG=copy|zero-copy chooses what is held of a Xen guest's packets: copies (the default), or themselves.
            REMUSD_DIRTY_TRACKING=auto|pagemap|compare chooses how an embedded guest's written pages are found.

            EXIT CODES
              0   protection ended as planned (--detach: it goes on in the background)
              1   the guest crashed
              64  the command line makes no sense
              69  the arbiter granted the guest to somebody else; or no such guest runs here, it cannot be protected as it is, something else protects it already, or its written pages cannot be found as \
            REMUSD_DIRTY_TRACKING demands
              75  the arbiter does not answer, and nothing was begun; or the standby refused, or did not answer when protection ended: its image there is outdated (--detach: not \
            reached within --timeout; it goes on trying)
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR, or a record in it, cannot be used; or --cpu or --realtime cannot be had
            """
    )

    @Argument(
        help: "The guest: a name, domid or UUID of Xen's, or embedded:NAME.",
        transform: { try GuestReference($0) }
    )
    var guest: GuestReference

    @Option(
        name: .customLong("to"),
        help: """
            The standby, ADDRESS:PORT: with TLS, which wants 'remusd pair' first, and plaintext on loopback. A name is looked \
            up when protection begins, and again while the standby is away. With --peer xl: the host.
            """
    )
    var to: String

    @Option(help: "What stands by there: remusd, or an xl, which needs --unsafe-peer (default: remusd).")
    var peer: Peer = .remusd

    @Option(
        help: ArgumentHelp(
            "With --peer xl: what runs a shell's script on its host, as COMMAND HOST SCRIPT (default: ssh).",
            valueName: "command"
        )
    )
    var peerCommand: String?

    @Flag(
        help: """
            With --peer xl: accept that it acknowledges nothing. 'remusd status' then says unacknowledged, never protected \
            (docs/interop.md).
            """
    )
    var unsafePeer = false

    @Option(
        help: ArgumentHelp(
            """
            From suspend to suspend; or adaptive, or adaptive:TARGET: from a fifth of TARGET to four times that (10ms to 200ms), so that \
            output waits for TARGET (50ms), as far as the link and the guest allow it (default: 50ms).
            """,
            valueName: "duration|adaptive"
        ),
        transform: IntervalChoice.argument
    )
    var interval: IntervalChoice = .fixed(.milliseconds(50))

    @Option(
        help: "Longest time the guest stays suspended; a longer checkpoint is abandoned (default: 500ms).",
        transform: TimeSpan.argument
    )
    var maxPause: TimeSpan = .milliseconds(500)

    @Option(
        help: """
            Longest wait for the standby to take more of a checkpoint, or to acknowledge it; then it counts as failing \
            (default: 2s).
            """,
        transform: TimeSpan.argument
    )
    var maxHold: TimeSpan = .seconds(2)

    @Option(help: "Longest time the guest may take to suspend (default: 1s).", transform: TimeSpan.argument)
    var suspendTimeout: TimeSpan = .seconds(1)

    @Option(
        help: "Time without the standby after which the guest goes on alone (default: 10s).",
        transform: TimeSpan.argument
    )
    var aloneAfter: TimeSpan = .seconds(10)

    @Option(
        help: ArgumentHelp(
            """
            Who grants each generation: etcd:URL, file:/DIR, exec:/PROGRAM, manual, or prefer-primary, which is nobody. The same \
            as the standby's (docs/arbiters.md; default: prefer-primary).
            """,
            valueName: "spec"
        ),
        transform: ArbiterSpec.argument
    )
    var arbiter: ArbiterSpec = .preferPrimary

    @Option(
        help: ArgumentHelp(
            """
            Vouch that the guest is over, for good, wherever the arbiter's record of this generation says it is: where the \
            arbiter denied, or lost its memory. Counts only where no output is held.
            """,
            valueName: "n"
        )
    )
    var ifGeneration: UInt64?

    @Option(
        help: "Most memory for the pages of one checkpoint (default: the guest's RAM).",
        transform: ByteSize.argument
    )
    var maxStaging: ByteSize?

    @Flag(
        help: """
            For a guest that writes much: send what is dirty just before a pause, which then copies less. Pages that are \
            written again go twice.
            """
    )
    var sweep = false

    @Option(
        help: ArgumentHelp(
            "Protect a guest of Xen's although these writable disks are not replicated.",
            valueName: "vdev,..."
        )
    )
    var unreplicatedDisks: String?

    @Option(
        help: """
            Who reads a Xen guest's memory and state: remusd itself, or Xen's libxenguest, which costs a copy of the \
            guest's RAM here and longer pauses (default: REMUSD_ENGINE, else native).
            """
    )
    var engine: EngineChoice?

    @Option(
        help: """
            How pages go to a remusd: plain; lz4: zeros by name, and LZ4 where it makes a page smaller, for some processor time; or delta: also what \
            changed since they were sent last, which saves most of the bytes and costs memory as large as the guest's here, and which a standby takes \
            that keeps the guest's memory itself (cold) (default: REMUSD_ENCODING, else lz4).
            """
    )
    var encoding: EncodingChoice?

    @Option(
        help: ArgumentHelp(
            "Write every byte of the stream to a file as well, for 'remusd inspect'.",
            valueName: "file"
        )
    )
    var tee: String?

    @OptionGroup(title: "Transport") var link: LinkOptions

    @OptionGroup var engineThread: EngineThreadArguments

    @OptionGroup var hooks: HookArguments

    @Flag(help: "Go on in the background, logging to REMUSD_RUNTIME_DIR/primary-NAME.log.")
    var detach = false

    @Option(help: ArgumentHelp("With --detach: return when this is reached.", valueName: "protected"))
    var wait: DetachGoal?

    @Option(
        help: "With --detach: how long to wait for that, or for its start (default: 1m).",
        transform: TimeSpan.argument
    )
    var timeout: TimeSpan = .seconds(60)

    func validate() throws {
        try validatePeer()
        if case .fixed(let interval) = interval, interval < .milliseconds(1) {
            throw ValidationError("--interval \(interval): give 1ms or more.")
        }
        guard maxPause >= .milliseconds(1), maxHold >= .milliseconds(10), suspendTimeout >= .milliseconds(1)
        else {
            throw ValidationError(
                "--max-pause, --max-hold and --suspend-timeout: give at least 1ms, 10ms and 1ms."
            )
        }
        guard aloneAfter >= .milliseconds(1500) else {
            throw ValidationError(
                "--alone-after \(aloneAfter): give 1500ms or more, so that a short loss is told from a long one."
            )
        }
        if wait != nil, !detach { throw ValidationError("--wait goes with --detach.") }
        if engine != nil, case .embedded = guest {
            throw ValidationError("--engine is for Xen's guests: an embedded one has no choice.")
        }
        if unreplicatedDisks != nil, case .embedded = guest {
            throw ValidationError("--unreplicated-disks is for Xen's guests: an embedded one has no disk.")
        }
        if ifGeneration != nil, !arbiter.canDecide {
            throw ValidationError("--if-generation goes with an --arbiter that decides.")
        }
        if peer == .xl, arbiter != .preferPrimary {
            throw ValidationError("--peer xl: an xl asks no arbiter.")
        }
    }

    private func validatePeer() throws {
        guard peer == .xl else {
            if unsafePeer || peerCommand != nil {
                throw ValidationError("--unsafe-peer and --peer-command go with --peer xl.")
            }
            _ = try standby
            return
        }
        guard unsafePeer else {
            throw ValidationError(
                "--peer xl: an xl acknowledges nothing, so the guest is never protected, and an image there is activated by "
                    + "hand only; if that is wanted, add --unsafe-peer."
            )
        }
        if case .embedded = guest {
            throw ValidationError("--peer xl is for Xen's guests: xl cannot run an embedded one.")
        }
        guard !to.isEmpty, !to.hasPrefix("-"), !to.contains(where: \.isWhitespace) else {
            throw ValidationError("--to \(to): with --peer xl, name a host.")
        }
    }

    /// The address of `--to`; of an xl's host the name alone.
    private var standby: SocketAddress {
        get throws {
            if peer == .xl { return SocketAddress(host: to, port: 0) }
            do {
                return try SocketAddress.argument(to)
            } catch {
                throw ValidationError("--to: \(error)")
            }
        }
    }

    func run() throws {
        let target: GuestTarget
        do {
            target = try guest.find()
        } catch {
            throw Console.failure("\(error)", code: Exit.unavailable)
        }
        if detach { return try runDetached(target.name) }
        Signals.ignore([SIGPIPE])
        Log.bootstrap()
        let paths = try Console.paths(for: target.name, creating: true)
        let stopped = Latch()
        let stoppedAgain = Latch()
        let waiter = try SignalWaiter { _ in stopped.isSet ? stoppedAgain.set() : stopped.set() }
        defer { withExtendedLifetime(waiter) {} }
        var next: GuestTarget? = target
        var hooks: HookRunner?
        while let target = next {
            let (result, text, protection): (ProtectResult, String, ProtectService)
            do {
                (result, text, protection) = try protect(target, paths, stopped, hooks)
            } catch {
                finish(hooks, unless: stopped.isSet ? stoppedAgain : stopped)
                throw error
            }
            hooks = protection.hooks
            // A signal that ended the protection is no reason to kill the hooks that hear of it; one that comes now is.
            let isEnough = stopped.isSet ? stoppedAgain : stopped
            next = awaitReboot(of: target, after: result, stopped)
            // A guest that runs again is protected at once, beside the hooks of what was before.
            guard next == nil else { continue }
            // Its control socket and its guardian are gone: a hook may begin another protection.
            finish(hooks, unless: isEnough)
            try finish(result, text, target.name)
        }
    }

    /// Waits until hooks have heard how it ended, for as long as they may take, or until it `isEnough`.
    private func finish(_ hooks: HookRunner?, unless isEnough: Latch) {
        guard let hooks else { return }
        isEnough.whenSet { hooks.stop() }
        hooks.drain()
    }

    /// Protects a guest until a planned end.
    private func protect(
        _ target: GuestTarget,
        _ paths: Paths,
        _ stopped: Latch,
        _ hooks: HookRunner?
    ) throws -> (ProtectResult, String, ProtectService) {
        let protection: ProtectService
        let guardian: GuardianLease?
        do {
            protection = try open(target, paths, stopped, hooks)
            guardian = try GuardianLease.start(
                for: target,
                protection,
                arguments: arguments(for: target),
                paths
            )
        } catch let error as GuestError {
            throw Console.failure("\(error)", code: Exit.unavailable)
        } catch let error as RecordError {
            throw Console.failure("\(error)", code: Exit.configuration)
        } catch let error as ValueError {
            throw Console.failure("\(error)", code: Exit.configuration)
        } catch let error as EngineThread.Refusal {
            throw Console.failure("\(error)", code: Exit.configuration)
        } catch let error as Audit.NotWritten {
            throw Console.failure("\(target.name): \(error)", code: Exit.configuration)
        } catch let error as ArbiterChanged {
            throw Console.failure("\(target.name): \(error)", code: Exit.configuration)
        } catch let error as ExitCode {
            throw error
        } catch {
            throw Console.failure("\(error)", code: 1)
        }
        defer { guardian?.dismiss() }
        stopped.whenSet { protection.unprotect() }
        // Afterwards nothing holds the guest any more.
        defer { stopped.whenSet {} }
        do {
            let result = try protection.run()
            return (result, protection.text(of: result), protection)
        } catch {
            throw Console.failure("\(error)", code: Exit.unavailable)
        }
    }

    /// Takes hold of the guest; one that has only begun to run is waited for, for a minute.
    private func open(_ target: GuestTarget, _ paths: Paths, _ stopped: Latch, _ hooks: HookRunner?) throws
        -> ProtectService
    {
        let deadline = Clock.monotonic + 60_000_000_000
        while true {
            do {
                return try ProtectService(target, options(target.name, paths), paths: paths, hooks: hooks)
            } catch let error as GuestError where error.isStarting && Clock.monotonic < deadline {
                guard !stopped.isSet else { throw error }
                usleep(500_000)
            }
        }
    }

    /// A guest of Xen's that rebooted is protected again, under its new domid, once it is there.
    private func awaitReboot(of target: GuestTarget, after result: ProtectResult, _ stopped: Latch)
        -> GuestTarget?
    {
        guard case .xen(let name, let guest) = target else { return nil }
        switch result {
        case .ended(.reboot, _), .nothingToDrop(.reboot), .unanswered(.reboot): break
        default: return nil
        }
        return GuestKeeping.awaitReboot(of: guest, limit: .seconds(120), isStopped: { stopped.isSet })
            .map { .xen(name, $0) }
    }

    private func finish(_ result: ProtectResult, _ text: String, _ name: GuestName) throws {
        switch result {
        case .ended(.crashed, _), .unanswered(.crashed), .nothingToDrop(.crashed), .outdated(.crashed),
            .failed:
            throw Console.failure("\(name): \(text)", code: 1)
        case .ended, .nothingToDrop, .outdated: Console.put("\(name): \(text)\n")
        case .unanswered, .refused, .noGrant: throw Console.failure("\(name): \(text)", code: Exit.tryAgain)
        case .denied: throw Console.failure("\(name): \(text)", code: Exit.unavailable)
        }
    }

    private func options(_ guest: GuestName, _ paths: Paths) throws -> ProtectOptions {
        var options = ProtectOptions(standby: try standby)
        options.thread = try engineThread.thread
        if peer == .remusd {
            options.security = try link.security(options.standby, paths, guest: guest.text)
        }
        if peer == .xl {
            options.xlPeer = XlPeerOptions(host: to, command: peerCommand ?? "ssh")
            // A command such as ssh, and then xl, have to start.
            options.settings.connectTimeout = .seconds(70)
        }
        interval.apply(to: &options.settings)
        options.settings.maxPause = maxPause
        options.settings.maxHold = maxHold
        options.settings.suspendTimeout = suspendTimeout
        options.settings.aloneAfter = aloneAfter
        options.settings.sweepsFrom = sweep ? SweepPolicy.usual : nil
        options.stagingPages = maxStaging.map { Int($0.bytes) / guestPageSize }
        options.tee = tee
        options.hooks = hooks.options
        options.engine = try engine ?? EngineChoice.fromEnvironment() ?? .native
        options.encoding = try encoding ?? EncodingChoice.fromEnvironment() ?? .lz4
        options.arbiter = makeArbiter(arbiter)
        options.ifGeneration = ifGeneration
        options.unreplicatedDisks = (unreplicatedDisks ?? "").split(separator: ",").map(String.init)
        return options
    }

    // MARK: In the background

    private func runDetached(_ name: GuestName) throws {
        let paths = try Console.paths(for: name, creating: true)
        let pid: Int32
        let log = paths.primaryLog(name)
        do {
            // The command line as it was given, but for what only this process does.
            pid = try ChildProcess.spawnDetached(
                ChildProcess.ownPath,
                Self.withoutDetaching(Array(CommandLine.arguments.dropFirst())),
                errors: SmallFile.openLog(log)
            )
        } catch {
            throw Console.failure("\(error)", code: Exit.configuration)
        }
        let process = try? ProcessHandle(pid: pid)
        let deadline = Clock.monotonic + timeout.nanoseconds
        let client = ControlClient(path: try paths.primarySocket(name))
        while true {
            if process?.hasEnded ?? true {
                let code = ChildProcess.reap(pid)?.shellCode ?? 1
                let last = (SmallFile.read(log) ?? "").split(separator: "\n").last.map(String.init) ?? ""
                throw Console.failure(
                    "protection did not start: \(last) (log: \(log))",
                    code: code == 0 ? 1 : code
                )
            }
            if let status = try? client.get("/v1/status", as: [GuestStatus].self).first {
                if wait == nil || status.state == .protected || status.state == .unacknowledged {
                    return Console.put("protecting \(name) in the background: pid \(pid), log \(log)\n")
                }
            }
            guard Clock.monotonic < deadline else {
                throw Console.failure(
                    "\(name) is not protected after \(timeout); pid \(pid) goes on trying: 'remusd status \(name)', log \(log)",
                    code: Exit.tryAgain
                )
            }
            usleep(20_000)
        }
    }

    /// The command line for another process that protects this guest, by what does not change when it reboots.
    private func arguments(for target: GuestTarget) -> [String] {
        let given = Self.withoutDetaching(Array(CommandLine.arguments.dropFirst()))
        guard case .xen(_, let found) = target else { return given }
        // A domid may be an option's number too.
        return zip([""] + given, given).map { before, argument in
            !["--cpu", "--if-generation"].contains(before)
                && [guest.description, "xen:\(guest)"].contains(argument) ? "\(found.uuid)" : argument
        }
    }

    private static func withoutDetaching(_ arguments: [String]) -> [String] {
        var result: [String] = []
        var skip = false
        for argument in arguments {
            if skip {
                skip = false
            } else if argument == "--wait" || argument == "--timeout" {
                skip = true
            } else if argument != "--detach", !argument.hasPrefix("--wait="),
                !argument.hasPrefix("--timeout=")
            {
                result.append(argument)
            }
        }
        return result
    }
}

/// `--peer`
enum Peer: String, CaseIterable, ExpressibleByArgument {
    case remusd, xl
}

/// What `protect --detach --wait` waits for.
enum DetachGoal: String, CaseIterable, ExpressibleByArgument {
    case protected
}
