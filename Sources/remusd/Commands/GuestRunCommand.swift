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
            The guest serves a subset of the Redis protocol; all it knows lies in its RAM. It runs until it is stopped \
            (Ctrl-C, SIGTERM, or `remusd guest stop NAME`); what it held then is gone.

            EXIT CODES
              0   stopped
              1   it could not run
              64  the command line makes no sense
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest's name.", transform: GuestName.argument)
    var name: GuestName

    @Option(
        help: "RAM, 16MiB to 8GiB (default: 256MiB); takes memory only as it is used.",
        transform: ByteSize.argument
    )
    var memory = ByteSize(bytes: 256 << 20)

    @Option(
        help:
            "Where clients reach it, ADDRESS:PORT (default: 127.0.0.1:6400); port 0 lets the kernel choose.",
        transform: SocketAddress.argument
    )
    var listen = SocketAddress(host: "127.0.0.1", port: 6400)

    @Option(help: "Its UUID (default: random).")
    var uuid: String?

    @Option(help: .hidden) var adoptMemoryFd: Int32?
    @Option(help: .hidden) var adoptRegistersFd: Int32?
    @Option(help: .hidden) var readyFd: Int32?

    func validate() throws {
        if let uuid, GuestUUID(uuid) == nil {
            throw ValidationError("'\(uuid)' is no UUID: write it like \(GuestUUID.random()).")
        }
        let bytes = Int(exactly: memory.bytes) ?? .max
        guard EmbeddedGuestConfiguration.memoryRange.contains(bytes), bytes % guestPageSize == 0 else {
            throw ValidationError("--memory \(memory): give 16MiB to 8GiB, in whole pages of 4KiB.")
        }
    }

    func run() throws {
        let starter = readyFd.map { Descriptor(owning: $0) }
        let paths: Paths
        do {
            paths = try Console.paths(for: name, creating: true)
        } catch {
            tell(starter, "error REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used\n")
            throw error
        }
        do {
            try serve(starter, paths)
        } catch {
            let text = "\((error as? GuestError).map { $0.reason } ?? "\(error)")"
            tell(starter, "error \(text)\n")
            put(STDERR_FILENO, "remusd: guest \(name): \(text)\n")
            throw ExitCode.failure
        }
    }

    private func serve(_ starter: Descriptor?, _ paths: Paths) throws {
        // An activated guest is in its starter's process group; Ctrl-C is meant for the starter.
        if starter != nil { Signals.ignore([SIGINT, SIGHUP]) }
        Signals.ignore([SIGPIPE])
        let stopped = Latch()
        let waiter = try SignalWaiter(starter == nil ? [SIGTERM, SIGINT] : [SIGTERM]) { _ in stopped.set() }
        defer { withExtendedLifetime(waiter) {} }
        // An activation has time for them before it has for the rest.
        let threads = EmbeddedGuestControl.threads()
        if adoptMemoryFd != nil, let starter {
            stopped.whenSet { starter.shutDown() }
            // Until then it uses neither the image nor an address, and makes no file.
            guard EmbeddedActivator.awaitRelease(starter) else { return }
        }
        var configuration = EmbeddedGuestConfiguration(
            name: name.text,
            uuid: uuid.flatMap { GuestUUID($0) } ?? .random(),
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
        let server = try EmbeddedGuestControl.serve(host, paths: paths, threads)
        defer { server.stop() }
        stopped.whenSet { host.stop() }
        try host.run {
            put(STDOUT_FILENO, "guest \(name) ready on \(host.address) (\(memory), pid \(getpid()))\n")
            tell(starter, "ready \(host.address)\n")
        }
    }

    private func tell(_ starter: Descriptor?, _ line: String) {
        if let starter { put(starter.raw, line) }
    }

    /// At once, past any buffer.
    private func put(_ descriptor: Int32, _ line: String) {
        _ = line.withCString { write(descriptor, $0, strlen($0)) }
    }
}
