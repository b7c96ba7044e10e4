import Checkpoint
import Glibc
import SystemSupport

/// Where one round of a demo plays: two hosts' directories, and every process that was started. Nothing of it is left
/// when `clear` has returned, whatever happened before.
final class DemoStage {
    static let guest = "demo"

    let directory: String
    let primary: Paths
    let standby: Paths
    let patience: DemoPatience
    private let name: GuestName

    private(set) var standbyProcess: DemoProcess?
    private(set) var guestProcess: DemoProcess?
    private(set) var protectProcess: DemoProcess?
    private(set) var standbyAddress = SocketAddress(host: "127.0.0.1", port: 0)
    private(set) var guestAddress = SocketAddress(host: "127.0.0.1", port: 0)
    private var standbysStarted = 0
    private var guardians: [ProcessHandle] = []
    private var activated: ProcessHandle?
    private var orders = 0

    /// Makes the directories.
    init(_ patience: DemoPatience) throws {
        self.patience = patience
        name = try GuestName(Self.guest)
        directory = try Self.makeDirectory()
        primary = Paths(runtime: directory + "/p", state: directory + "/p/state")
        standby = Paths(runtime: directory + "/s", state: directory + "/s/state")
        try primary.create()
        try standby.create()
    }

    private static func makeDirectory() throws -> String {
        var parent = Paths.environment("TMPDIR") ?? "/tmp"
        // Sockets lie in it, and their paths are short (unix(7)).
        if !parent.hasPrefix("/") || parent.utf8.count > 50 { parent = "/tmp" }
        var template = Array("\(parent)/remusd-demo-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError("make a directory in \(parent)") }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// This machine's own hooks are for real guests.
    private var noHooks: [String] { ["--hooks", directory + "/no-hooks"] }

    // MARK: Starting

    /// Starts the standby, at the address it had before if it had one.
    func startStandby() throws {
        let process = try DemoProcess(
            "standby",
            ["standby", "--listen", "\(standbyAddress)"] + noHooks,
            paths: standby,
            log: directory + "/standby.log"
        )
        standbyProcess = process
        let line = try process.line(beginning: "standby ready on ", after: standbysStarted, patience)
        standbysStarted += 1
        // standby ready on ADDRESS (memory ceiling SIZE, pid N, guardian N)
        let words = line.split { " (),".contains($0) }
        guard words.count > 3, let address = SocketAddress(String(words[3])),
            let guardian = words.last.flatMap({ Int32($0) })
        else { throw DemoError.unexpected("the standby said '\(line)'") }
        standbyAddress = address
        if !guardians.contains(where: { $0.pid == guardian && !$0.hasEnded }) {
            guardians.append(try ProcessHandle(pid: guardian))
        }
    }

    /// Starts the guest.
    func startGuest(memory: ByteSize) throws {
        let process = try DemoProcess(
            "guest",
            ["guest", "run", Self.guest, "--memory", "\(memory)", "--listen", "127.0.0.1:0"],
            paths: primary,
            log: directory + "/guest.log"
        )
        guestProcess = process
        // guest NAME ready on ADDRESS (…)
        let words = try process.line(beginning: "guest \(Self.guest) ready on ", patience).split(
            separator: " "
        )
        guard words.count > 4, let address = SocketAddress(String(words[4])) else {
            throw DemoError.unexpected("the guest said '\(words.joined(separator: " "))'")
        }
        guestAddress = address
    }

    /// Starts the guest's protection to the standby, or to what stands before it.
    func startProtect(to address: SocketAddress? = nil, interval: TimeSpan, aloneAfter: TimeSpan) throws {
        protectProcess = try DemoProcess(
            "protect",
            [
                "protect", "embedded:\(Self.guest)", "--to", "\(address ?? standbyAddress)", "--interval",
                "\(interval)", "--alone-after", "\(aloneAfter)",
            ] + noHooks,
            paths: primary,
            log: directory + "/protect.log"
        )
    }

    // MARK: Watching

    /// The primary as it is now; nil if it does not answer.
    func primaryStatus() throws -> GuestStatus? {
        let client = ControlClient(path: try primary.primarySocket(name))
        return (try? client.get("/v1/status", as: [GuestStatus].self, timeout: .seconds(1)))?.first
    }

    /// The standby as it is now; nil if it does not answer or knows no guest.
    func standbyStatus() throws -> GuestStatus? {
        let client = ControlClient(path: try standby.standbySocket())
        return (try? client.get("/v1/status", as: [GuestStatus].self, timeout: .seconds(1)))?.first
    }

    /// Waits until the primary says that the guest is protected.
    @discardableResult
    func waitProtected(atMost limit: TimeSpan = .seconds(60)) throws -> GuestStatus {
        try waitPrimary("protected", atMost: limit) { $0.protected }
    }

    /// Waits until the primary's status is as it should be.
    @discardableResult
    func waitPrimary(
        _ what: String,
        atMost limit: TimeSpan,
        _ condition: (GuestStatus) -> Bool
    ) throws -> GuestStatus {
        var last = "no answer"
        return try patience.wait(for: "the primary to be \(what) (last seen: \(last))", atMost: limit) {
            if let code = protectProcess?.exitCode {
                throw DemoError.unexpected("protect ended with \(code)")
            }
            guard let status = try primaryStatus() else { return nil }
            last = status.state.rawValue
            return condition(status) ? status : nil
        }
    }

    // MARK: Killing

    /// SIGKILL to the guest and its protection, as when their host goes.
    /// - Parameter now: called just before.
    func killPrimary(now: () -> Void) {
        now()
        guestProcess?.signal(SIGKILL)
        protectProcess?.signal(SIGKILL)
        guestProcess?.waitForEnd()
        protectProcess?.waitForEnd()
    }

    /// SIGKILL to the guest alone.
    func killGuest() { guestProcess?.kill() }

    /// SIGKILL to the standby daemon, and to its guardian if the image is to go too.
    func killStandby(withGuardian: Bool) {
        if withGuardian { for guardian in guardians { guardian.signal(SIGKILL) } }
        standbyProcess?.kill()
        if withGuardian { for guardian in guardians { guardian.waitForEnd(milliseconds: 10_000) } }
    }

    // MARK: Activating

    /// What one `remusd activate` came to.
    struct Order {
        var code: Int32
        var reply: ActivateReply?
        var output: String
    }

    /// Runs `remusd activate` at the standby, as a failover script would.
    func activate(_ more: [String] = []) throws -> Order {
        orders += 1
        let command = try DemoProcess(
            "activate",
            ["activate", Self.guest, "--output", "json"] + more,
            paths: standby,
            log: directory + "/activate-\(orders).log"
        )
        defer { if command.exitCode == nil { command.kill() } }
        let code = try patience.wait(for: "'remusd activate' to end", atMost: .seconds(60)) {
            command.exitCode
        }
        let reply = try? ControlJSON.decode(ActivateReply.self, from: Array(command.output.utf8))
        return Order(code: code, reply: reply, output: command.output)
    }

    /// Activates the guest; "the primary is alive" and "try again" are tried again, as a script would.
    @discardableResult
    func activateWithPatience() throws -> ActivateReply? {
        let order = try patience.wait(for: "the standby to activate", atMost: .seconds(30)) {
            () throws -> Order? in
            let order = try activate()
            return [10, 75].contains(order.code) ? nil : order
        }
        guard order.code == 0 else {
            throw DemoError.unexpected(
                "'remusd activate' ended with \(order.code): \(order.reply?.message ?? order.output)"
            )
        }
        activated = runningGuest(standby)
        return order.reply
    }

    /// The guest's process in `paths`, if one answers.
    private func runningGuest(_ paths: Paths) -> ProcessHandle? {
        guard let socket = try? paths.guestSocket(name) else { return nil }
        let client = ControlClient(path: socket)
        let status = try? client.get("/v1/status", as: EmbeddedGuestStatus.self, timeout: .seconds(1))
        return status.flatMap { try? ProcessHandle(pid: $0.pid) }
    }

    /// Whether a copy of the guest runs at the standby.
    var runsAtStandby: Bool { runningGuest(standby) != nil }

    // MARK: The end

    /// Ends every process, and removes the directory unless it is to be kept.
    func clear(keepingDirectory: Bool) {
        protectProcess?.kill()
        guestProcess?.kill()
        let copy = activated ?? runningGuest(standby)
        // A daemon that is asked ends in order; its guardian would hold an image for as long as there is one.
        standbyProcess?.stop()
        (copy ?? runningGuest(standby))?.signal(SIGKILL)
        copy?.waitForEnd(milliseconds: 5000)
        for guardian in guardians {
            guardian.signal(SIGTERM)
            if !guardian.waitForEnd(milliseconds: 2000) { guardian.signal(SIGKILL) }
        }
        if !keepingDirectory { Self.removeTree(directory) }
    }

    /// The last lines of each process's output.
    func tails(lines: Int = 15) -> String {
        var text = ""
        for process in [standbyProcess, guestProcess, protectProcess] {
            guard let process else { continue }
            text += "--- \(process.name) (\(process.log))\n"
            for line in process.output.split(separator: "\n").suffix(lines) { text += "    \(line)\n" }
        }
        return text
    }

    private static func removeTree(_ path: String) {
        for file in SmallFile.names(in: path) { removeTree("\(path)/\(file)") }
        remove(path)
    }
}
