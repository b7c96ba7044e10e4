import ArgumentParser
import Checkpoint
import Daemon
import EmbeddedHost
import Glibc
import SystemSupport

/// `remusd guest run`: one embedded guest, in the foreground.
struct GuestRun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run an embedded guest: a process that stands in for a virtual machine.",
        discussion: """
            The guest serves a subset of the Redis protocol (try redis-cli); all it knows lies in its RAM. It runs in \
            the foreground until it is stopped (Ctrl-C, SIGTERM, or 'remusd guest stop'), and what it knew goes with \
            it.

            EXIT CODES
              0   stopped
              64  the command line makes no sense
              75  it could not start: its name or address is taken, or the image cannot be run
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest's name.", transform: GuestName.argument)
    var name: GuestName

    @Option(
        help: "RAM, 16MiB to 8GiB; it takes up memory only where it is used (default: 256MiB).",
        transform: ByteSize.argument
    )
    var memory = ByteSize(bytes: 256 << 20)

    @Option(
        help: "Where clients reach it, ADDRESS:PORT, port 0 for any (default: 127.0.0.1:6400).",
        transform: SocketAddress.argument
    )
    var listen = SocketAddress(host: "127.0.0.1", port: 6400)

    @Option(help: "Its UUID (default: a random one).", transform: GuestUUID.argument)
    var uuid: GuestUUID = .random()

    // How `EmbeddedActivator` hands an image over.
    @Option(help: .hidden) var adoptMemoryFd: Int32?
    @Option(help: .hidden) var adoptRegistersFd: Int32?
    @Option(help: .hidden) var readyFd: Int32?

    func validate() throws {
        let range = EmbeddedGuestConfiguration.memoryRange
        guard memory.bytes <= UInt64(range.upperBound), range.contains(Int(memory.bytes)) else {
            throw ValidationError("--memory \(memory): give 16MiB to 8GiB.")
        }
        guard memory.bytes % UInt64(guestPageSize) == 0 else {
            throw ValidationError("--memory \(memory): give whole pages of \(guestPageSize) bytes.")
        }
    }

    func run() throws {
        let starter = readyFd.map { Descriptor(owning: $0) }
        // An activated guest is in its starter's process group; Ctrl-C there is meant for the starter.
        TerminationSignal.ignore(starter == nil ? [SIGPIPE] : [SIGPIPE, SIGINT, SIGHUP])
        let paths = try Console.paths()
        do {
            try serve(paths, starter)
        } catch {
            let reason = (error as? GuestError)?.reason ?? "\(error)"
            if let starter { Self.tell(starter, "error \(reason)\n") }
            throw Console.failure("guest \(name): \(reason)", code: Exit.tryAgain)
        }
    }

    private func serve(_ paths: Paths, _ starter: Descriptor?) throws {
        let ending = try TerminationSignal.catching(starter == nil ? [SIGTERM, SIGINT, SIGHUP] : [SIGTERM])
        try SmallFile.makeDirectories(paths.runtime)
        var configuration = EmbeddedGuestConfiguration(
            name: name.text,
            uuid: uuid,
            memoryBytes: Int(memory.bytes),
            listen: listen,
            runtimeDirectory: paths.runtime
        )
        if let adoptMemoryFd, let adoptRegistersFd {
            configuration.adopted = try EmbeddedActivator.adopted(
                memory: adoptMemoryFd,
                registers: adoptRegistersFd
            )
        }
        let host = try EmbeddedGuestHost(configuration)
        let watcher = try WorkerThread("signals") {
            ending.wait()
            host.stop()
        }
        watcher.detach()
        let server = try ControlServer(path: try paths.guestSocket(name), handler: Self.router(host).handle)
        defer { server.stop(drainMilliseconds: 500) }
        try host.run {
            Console.put("guest \(name) ready on \(host.address) (\(memory), pid \(getpid()))\n")
            if let starter { Self.tell(starter, "ready \(host.address)\n") }
        }
    }

    private static func router(_ host: EmbeddedGuestHost) -> ControlRouter {
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .encoding(EmbeddedGuestStatus(host.status)) }
        router.on("POST", "/v1/stop") { _, _ in
            host.stop()
            return .encoding(["stopping": true], status: 202)
        }
        return router
    }

    private static func tell(_ starter: Descriptor, _ line: String) {
        _ = line.withCString { write(starter.raw, $0, strlen($0)) }
    }
}

extension GuestUUID {
    static func argument(_ text: String) throws -> GuestUUID {
        guard let uuid = GuestUUID(text) else {
            throw ValueError(kind: "UUID", text: text, rightForm: "write it like \(GuestUUID.random())")
        }
        return uuid
    }
}

extension EmbeddedGuestStatus {
    /// What `GET /v1/status` answers.
    init(_ guest: EmbeddedGuestSnapshot) {
        self.init(
            name: guest.name,
            uuid: "\(guest.uuid)",
            pid: guest.pid,
            address: guest.address,
            memoryBytes: UInt64(guest.memoryBytes),
            populatedBytes: UInt64(guest.populatedBytes),
            state: guest.state.rawValue,
            controlled: guest.isControlled,
            plug: guest.plug.rawValue,
            heldBytes: UInt64(guest.heldBytes),
            keys: guest.keys,
            commands: guest.commands
        )
    }
}
