import ArgumentParser
import Checkpoint
import Daemon
import EmbeddedHost
import Glibc
import Logging
import SystemSupport
import XenHost

/// `remusd standby`
struct StandbyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "standby",
        abstract: "Keep the images of guests that primaries protect.",
        discussion: """
            Runs in the foreground until it is stopped (Ctrl-C, SIGTERM). It keeps each guest's image up to date at every \
            commit and takes over when it is told to ('remusd activate'), or, with --activate auto, when an arbiter grants it. \
            The images are also held by a guardian process \
            that outlives this one; a standby that is started again adopts them, and sessions go on where they were.

            EXIT CODES
              0   stopped
              64  the command line makes no sense
              73  the address cannot be listened on, or another standby runs here
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR, or a record in it, cannot be used
            """
    )

    @Option(
        help: """
            Where primaries connect, ADDRESS:PORT; port 0 lets the kernel choose. With TLS, which wants 'remusd pair' \
            first, and plaintext on loopback.
            """,
        transform: SocketAddress.argument
    )
    var listen: SocketAddress

    @Option(
        help: "Most memory for all images (default: nine tenths of what is available now).",
        transform: ByteSize.argument
    )
    var memoryCeiling: ByteSize?

    @Option(help: "Where the xl configurations of Xen guests lie that may be started here, each as NAME.cfg.")
    var templates = "/etc/xen"

    @Option(
        help: """
            How Xen guests are kept: warm, as paused domains that take their memory now and run at once, or not at all; \
            cold, as images in this host's memory that are restored when needed, and can be exported. (default: warm, and \
            cold what cannot be kept warm)
            """
    )
    var activation: ActivationMode?

    @Option(
        help: """
            What puts the network cards of Xen guests into their bridge when they start here: remusd, which does it itself where \
            vif-bridge would do no more; xen, Xen's script in each case (docs/activation.md; default: remusd).
            """
    )
    var vifScript: VifScriptChoice = .remusd

    @Option(
        help: ArgumentHelp(
            """
            Who grants what is activated: etcd:URL, file:/DIR, exec:/PROGRAM, manual, or prefer-primary, which is nobody. The \
            same as each primary's (docs/arbiters.md; default: prefer-primary).
            """,
            valueName: "spec"
        ),
        transform: ArbiterSpec.argument
    )
    var arbiter: ArbiterSpec = .preferPrimary

    @Option(
        help: """
            When a primary is gone without a word: manual, 'remusd activate' decides; auto, the arbiter is asked and the guest \
            activated, which needs an arbiter that decides (default: manual).
            """
    )
    var activate: ActivationTrigger = .manual

    @OptionGroup(title: "Transport") var link: LinkOptions

    @Flag(
        help: """
            Also take what 'remusd xl-receive' sends for an xl, which waits for no acknowledgement. Such a guest is never \
            protected, and is activated by hand only (docs/interop.md).
            """
    )
    var unsafePeer = false

    @OptionGroup var hooks: HookArguments

    func validate() throws {
        if activate == .auto, !arbiter.canDecide {
            throw ValidationError(
                "--activate auto needs an --arbiter that decides (etcd, file or exec): without one, two copies could run."
            )
        }
    }

    func run() throws {
        Signals.ignore([SIGPIPE])
        Log.bootstrap()
        DescriptorLimit.raise()
        let paths = try Console.paths(creating: true)
        let stopped = Latch()
        let waiter = try SignalWaiter { _ in stopped.set() }
        defer { withExtendedLifetime(waiter) {} }
        // Taken before anything else: two standbys must not share a guardian.
        let lock: FileLock
        do {
            lock = try FileLock(at: paths.runtime + "/standby.lock")
        } catch {
            throw Console.failure(
                "another standby runs with \(paths.runtime): stop it first (\(error))",
                code: Exit.cannotCreate
            )
        }
        defer { withExtendedLifetime(lock) {} }
        var options = StandbyOptions(listen: listen, paths: paths)
        options.memoryCeiling = memoryCeiling?.bytes
        options.unsafePeers = unsafePeer
        options.arbiter = makeArbiter(arbiter)
        options.activatesByItself = activate == .auto
        options.hooks = hooks.options
        options.security = try link.security(listen, paths)
        warn(paths)
        let script = vifScript == .remusd ? VifScriptLink(in: paths.state) : nil
        let xen = XenActivator(templates: templates, runtimeDirectory: paths.runtime, vifScript: script)
        if xen.isXen, let script { install(script) }
        if activation ?? (xen.isXen ? .warm : .cold) == .warm {
            options.warmStart = warmStart(xen, isDemanded: activation == .warm)
        }
        options.warmGuest = { try xen.warmGuest($0) }
        let service: StandbyService
        let server: ControlServer
        do {
            service = try StandbyService(
                options,
                activator: Activators(
                    embedded: EmbeddedActivator(runtimeDirectory: paths.runtime),
                    xen: xen
                )
            )
            server = try ControlServer(path: try paths.standbySocket(), handler: service.router.handle)
        } catch let error as RecordError {
            throw Console.failure("\(error)", code: Exit.configuration)
        } catch {
            throw Console.failure("\(error)", code: Exit.cannotCreate)
        }
        stopped.whenSet { service.stop() }
        Console.put(
            "standby ready on \(service.address) (memory ceiling \(ByteSize(bytes: service.memoryCeiling).rounded), "
                + "pid \(getpid()), guardian \(service.guardianPID))\n"
        )
        service.run()
        service.stopHooks()
        server.stop()
    }

    /// What somebody who starts a standby should know.
    private func warn(_ paths: Paths) {
        let log = Logger(label: "standby")
        if !link.isPlaintext(listen) {
            let (records, troubles) = PeerBook(paths).records()
            for trouble in troubles { log.error("\(trouble)") }
            if records.isEmpty {
                log.warning("no host is paired with this one, so every connection is refused: 'remusd pair'")
            }
        } else if !listen.isLoopback {
            log.warning("replication is plaintext: guest memory can be read, and changed, on the way")
        }
        for swap in Swap.unencrypted {
            log.warning(
                "guest memory may reach the disk behind the swap area \(swap) unencrypted: encrypt it, or turn it off"
            )
        }
    }

    /// Also where no guest is started now: those that an earlier standby started are stopped by that name, and what was saved of them
    /// is restored by it.
    private func install(_ script: VifScriptLink) {
        do {
            try script.install()
        } catch {
            Logger(label: "standby").warning("network cards are left to Xen's own script: \(error)")
        }
    }

    /// Begins the domains of Xen guests. One that cannot be kept warm is kept cold, unless warm `isDemanded`.
    private func warmStart(
        _ xen: XenActivator,
        isDemanded: Bool
    ) -> @Sendable (GuestDescription) throws -> WarmGuest? {
        { guest in
            guard !Activators.isEmbedded(config: guest.config) else { return nil }
            do throws(GuestError) {
                return try xen.prepare(guest)
            } catch {
                guard !isDemanded else { throw error }
                Logger(label: "standby").warning(
                    "kept cold: \(error.reason)",
                    metadata: ["guest": "\(guest.name)"]
                )
                return nil
            }
        }
    }
}

/// `--activate`
enum ActivationTrigger: String, CaseIterable, ExpressibleByArgument {
    case manual, auto
}

/// `--activation`
enum ActivationMode: String, CaseIterable, ExpressibleByArgument {
    case warm, cold
}

/// `--vif-script`
enum VifScriptChoice: String, CaseIterable, ExpressibleByArgument {
    case remusd, xen
}
