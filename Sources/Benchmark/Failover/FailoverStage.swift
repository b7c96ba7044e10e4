import Checkpoint
import Daemon
import EmbeddedHost
import Glibc
import SystemSupport
import Transport

/// An embedded guest and its protection, `remusd` processes both, and a standby in this process, which starts the guest anew
/// once it is told to and the primary is lost.
final class FailoverStage {
    static let guest = "failover"
    /// What the primary's side goes by.
    static let aloneAfter = TimeSpan.seconds(10)

    /// The standby's directories.
    static func standby(in directory: String) -> Paths {
        Paths(runtime: directory + "/s", state: directory + "/s/state")
    }

    let host: StandbyHost
    private let program: String
    private let directory: String
    private let primary: Paths
    private let activator: TimedActivator
    private let door: WatchedDoor
    private var guest: StageProcess?
    private var protect: StageProcess?
    private var client: CountingClient?

    /// - Parameters:
    ///   - program: `remusd`.
    ///   - directory: an empty one, of a short name: sockets lie in it.
    init(_ program: String, in directory: String) throws {
        self.program = program
        self.directory = directory
        primary = Paths(runtime: directory + "/p", state: directory + "/p/state")
        let standby = Self.standby(in: directory)
        try primary.create()
        try standby.create()
        activator = TimedActivator(EmbeddedActivator(runtimeDirectory: standby.runtime, executable: program))
        // This machine's own hooks are for real guests.
        host = try StandbyHost(standby, .plaintext, activator: activator, hooks: directory + "/no-hooks")
        door = try WatchedDoor(to: host)
    }

    /// Starts the guest, writes to it, and protects it; returns once that is so.
    /// - Parameters:
    ///   - memory: the guest's; bytes.
    ///   - filled: as much of it is written to, about.
    ///   - tee: a file that gets the stream.
    func start(memory: Int, filled: Int, interval: TimeSpan, tee: String? = nil) throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        guest = try StageProcess(
            program,
            [
                "guest", "run", Self.guest, "--memory", "\(memory)", "--listen", "127.0.0.1:0", "--ready-fd",
                "5",
            ],
            primary,
            inherited: [5: far]
        )
        let ready = try LineChannel(near, to: "the guest").hear("ready", seconds: 30)
        guard let address = ready.first.flatMap({ SocketAddress(String($0)) }) else {
            throw BenchError("the guest does not say where it is")
        }
        let client = try CountingClient(to: address)
        self.client = client
        try client.fill(filled)
        var arguments = [
            "protect", "embedded:\(Self.guest)", "--to", "\(door.address)", "--interval", "\(interval)",
            "--alone-after", "\(Self.aloneAfter)", "--hooks", directory + "/no-hooks",
        ]
        if let tee { arguments += ["--tee", tee] }
        protect = try StageProcess(program, arguments, primary)
        try wait(forEpoch: 3) { usleep(1000) }
    }

    /// Waits until the standby has committed an epoch, and does something meanwhile.
    private func wait(forEpoch epoch: UInt64, meanwhile: () throws -> Void) throws {
        let deadline = Clock.monotonic + 60_000_000_000
        while (host.image(of: Self.guest)?.epoch ?? 0) < epoch {
            guard Clock.monotonic < deadline else {
                throw BenchError("the standby has not committed epoch \(epoch) of the guest within 60 s")
            }
            try meanwhile()
        }
    }

    /// Loses the primary, activates the guest, and sees that what its client was told is in it.
    /// - Parameter milliseconds: that it counts before.
    func lose(_ loss: FailoverLoss, after milliseconds: UInt64) throws -> FailoverSample {
        guard let client, let guest, let protect else { throw BenchError("nothing is protected") }
        let moment = Clock.monotonic + milliseconds * 1_000_000
        var told = try client.count()
        while Clock.monotonic < moment { told = try client.count() }
        // One that is on its way.
        try client.ask()
        let lost = Clock.boot
        // The guest alone would be a crash, which is another story.
        protect.signal(loss == .reset ? SIGKILL : SIGSTOP)
        guest.signal(loss == .reset ? SIGKILL : SIGSTOP)
        let address = try activate()
        let noticed = loss == .reset ? door.endSeen : host.lastHeard(of: Self.guest)
        guard let running = activator.running, let noticed, noticed < running,
            loss == .silence || noticed > lost
        else {
            throw BenchError("the guest was activated before its primary was lost")
        }
        told = client.answered ?? told
        let now = try CountingClient(to: address).count()
        // Its own count is one; the one on its way may be in it, too.
        guard now == told + 1 || now == told + 2 else {
            throw BenchError("the guest counts \(now) after its client was told \(told)")
        }
        return FailoverSample(lost: lost, noticed: noticed, running: running)
    }

    /// Orders the activation, as somebody does who knows that the primary is off, again and again until it is taken.
    /// - Returns: where the guest is reached.
    private func activate() throws -> SocketAddress {
        let order = ActivateRequest(confirmFenced: PrimaryIdentity.hostName, listen: "127.0.0.1:0")
        let deadline = Clock.monotonic + 30_000_000_000
        while Clock.monotonic < deadline {
            let reply = try host.activate(Self.guest, order)
            switch reply.outcome {
            case .active:
                guard let address = reply.address.flatMap({ SocketAddress($0) }) else {
                    throw BenchError("the activated guest does not say where it is")
                }
                return address
            case .primaryAlive, .tryAgain: usleep(500)
            default: throw BenchError("the standby does not activate: \(reply.message)")
            }
        }
        throw BenchError("the standby has not activated the guest within 30 s")
    }

    /// Has the client count until the standby has committed that many epochs after the first, ends the primary, and gives what
    /// went into the tee.
    func record(epochs: UInt64, _ tee: String) throws -> [UInt8] {
        guard let client else { throw BenchError("nothing is protected") }
        try wait(forEpoch: epochs) { _ = try client.count() }
        protect?.end()
        guest?.end()
        guard let bytes = SmallFile.readBytes(tee) else { throw SystemError("read \(tee)") }
        return bytes
    }

    /// Ends everything.
    func clear() {
        protect?.end()
        guest?.end()
        activator.endGuest()
        host.stop()
    }
}
