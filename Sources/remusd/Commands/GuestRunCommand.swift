import ArgumentParser
import Daemon
import Checkpoint
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

            Exit codes: 0 stopped, 1 it could not run, 64 wrong usage.
            """
    )

    @Argument(help: "The guest's name: letters, digits, dot, dash and underscore.")
    var name: String

    @Option(help: "RAM, 16MiB to 8GiB; takes memory only as it is used.")
    var memory: MemorySize = MemorySize(bytes: 256 << 20)

    @Option(help: "Where clients reach it, ADDRESS:PORT; port 0 lets the kernel choose.")
    var listen: String = "127.0.0.1:6400"

    @Option(help: "Its UUID. (default: random)")
    var uuid: String?

    @Option(help: .hidden) var adoptMemoryFd: Int32?
    @Option(help: .hidden) var adoptRegistersFd: Int32?
    @Option(help: .hidden) var readyFd: Int32?

    func validate() throws {
        let isNameChar = { (c: Character) in c.isASCII && (c.isLetter || c.isNumber || "._-".contains(c)) }
        guard !name.isEmpty, name.count <= 48, name.allSatisfy(isNameChar), name.first != "." else {
            throw ValidationError(
                "'\(name)' is no guest name: use up to 48 letters, digits, '.', '-' and '_'."
            )
        }
        guard SocketAddress(listen) != nil else {
            throw ValidationError("'\(listen)' is no address: write ADDRESS:PORT, like 127.0.0.1:6400.")
        }
        if let uuid, GuestUUID(uuid) == nil {
            throw ValidationError("'\(uuid)' is no UUID: write it like \(GuestUUID.random()).")
        }
        guard EmbeddedGuestConfiguration.memoryRange.contains(memory.bytes) else {
            throw ValidationError("--memory \(memory): give 16MiB to 8GiB.")
        }
    }

    func run() throws {
        let starter = readyFd.map { Descriptor(owning: $0) }
        do {
            try serve(starter)
        } catch {
            let text = "\((error as? GuestError).map { $0.reason } ?? "\(error)")"
            tell(starter, "error \(text)\n")
            put(STDERR_FILENO, "remusd: guest \(name): \(text)\n")
            throw ExitCode.failure
        }
    }

    private func serve(_ starter: Descriptor?) throws {
        // An activated guest is in its starter's process group; Ctrl-C is meant for the starter.
        if starter != nil { TerminationSignal.ignore([SIGINT, SIGHUP]) }
        TerminationSignal.ignore([SIGPIPE])
        let ending = try TerminationSignal.catching(starter == nil ? [SIGTERM, SIGINT] : [SIGTERM])
        let runtimeDirectory = getenv("REMUSD_RUNTIME_DIR").map { String(cString: $0) } ?? "/run/remusd"
        try SmallFile.makeDirectories(runtimeDirectory)
        guard let address = SocketAddress(listen) else { throw ValidationError("'\(listen)' is no address.") }
        var configuration = EmbeddedGuestConfiguration(
            name: name,
            uuid: uuid.flatMap { GuestUUID($0) } ?? .random(),
            memoryBytes: memory.bytes,
            listen: address,
            runtimeDirectory: runtimeDirectory
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
        // A guest without its control socket is still a guest.
        var control: ControlServer?
        do {
            control = try EmbeddedGuestControl.serve(host, paths: Paths())
        } catch {
            put(STDERR_FILENO, "remusd: guest \(name): no status and no stop by command: \(error)\n")
        }
        defer { control?.stop() }
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

/// Bytes, as `--memory` takes them. TODO: `ByteSize` of Daemon takes its place when the branches meet.
struct MemorySize: ExpressibleByArgument, CustomStringConvertible {
    let bytes: Int

    init(bytes: Int) { self.bytes = bytes }

    init?(argument: String) {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] where argument.hasSuffix(unit) {
            guard let count = Int(argument.dropLast(unit.count)), (0...1 << 30).contains(count) else {
                return nil
            }
            self.init(bytes: count << shift)
            return
        }
        guard let count = Int(argument), count >= 0 else { return nil }
        self.init(bytes: count)
    }

    var description: String {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] where (bytes >> shift) << shift == bytes
        {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }
}
