import Daemon
import Glibc
import SystemSupport
import Testing

/// The commands as scripts see them: exit codes, JSON, files.
@Suite struct CommandTests {
    let directory: TemporaryDirectory
    let program: Program
    let paths: Paths

    init() throws {
        directory = try TemporaryDirectory()
        program = Program(directory: directory)
        paths = Paths(runtime: directory.path, state: directory.path)
    }

    /// A standby that answers as it is told.
    func standby(
        _ statuses: [GuestStatus] = [],
        activate: @escaping @Sendable (ActivateRequest) -> ActivateOutcome = { _ in .tryAgain },
        export: @escaping @Sendable (ControlResponse.Sink) throws -> Void = { _ in }
    ) throws -> ControlServer {
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .encoding(statuses) }
        router.on("POST", "/v1/guests/{name}/activate") { request, names in
            let order = try request.decode(ActivateRequest.self)
            return .encoding(
                ActivateReply(guest: names["name"] ?? "", outcome: activate(order), message: "so it is")
            )
        }
        router.on("GET", "/v1/guests/{name}/export") { _, _ in .stream(contentType: "x/y", produce: export) }
        return try ControlServer(path: paths.standbySocket(), handler: router.handle)
    }

    @Test(arguments: ActivateOutcome.allCases)
    func activateExitsWithItsOutcome(outcome: ActivateOutcome) throws {
        let server = try standby { _ in outcome }
        defer { server.stop() }
        let result = try program.run("activate", "web1")
        #expect(result.exitCode == outcome.exitCode)
        #expect((outcome.exitCode == 0 ? result.output : result.error).contains("so it is"))
        let json = try program.run("activate", "web1", "--output", "json")
        #expect(json.exitCode == outcome.exitCode)
        #expect(try ControlJSON.decode(ActivateReply.self, from: Array(json.output.utf8)).outcome == outcome)
    }

    @Test func activatePassesEveryWordOn() throws {
        let expected = ActivateRequest(
            confirmFenced: "a.example",
            ifGeneration: 3,
            acceptRollback: true,
            dryRun: true,
            listen: "[::1]:6400"
        )
        let server = try standby { $0 == expected ? .active : .usage }
        defer { server.stop() }
        let result = try program.run(
            "activate",
            "web1",
            "--confirm-fenced",
            "a.example",
            "--if-generation",
            "3",
            "--accept-rollback",
            "--dry-run",
            "--listen",
            "[::1]:6400"
        )
        #expect(result.exitCode == 0)
    }

    @Test func activateWithoutAStandbyIsTryAgainInTheSameForm() throws {
        let result = try program.run("activate", "web1", "--output", "json")
        #expect(result.exitCode == 75)
        let reply = try ControlJSON.decode(ActivateReply.self, from: Array(result.output.utf8))
        #expect(reply.outcome == .tryAgain)
        #expect(reply.message.contains("no remusd standby runs here"))
    }

    @Test(arguments: [
        ["activate"], ["activate", "we b"], ["activate", "web1", "--listen", "6400"],
        ["activate", "web1", "--confirm-fenced", ""], ["activate", "web1", "--if-generation", "x"],
        ["wait", "web1"], ["wait", "web1", "--for", "luck"],
        ["wait", "web1", "--for", "active", "--timeout", "5"],
        ["status", "a/b"], ["status", "--output", "xml"], ["export", "web1"], ["export", "web1", ""],
        ["guest", "stop"],
        ["nonsense"],
    ])
    func wrongUsageIs64(arguments: [String]) throws {
        let pid = try ChildProcess.spawn(
            Program.path,
            arguments,
            inherited: [2: Descriptor(owning: open("/dev/null", O_WRONLY | O_CLOEXEC))]
        )
        #expect(ChildProcess.reap(pid) == .exited(64))
    }

    static let commandsWithDirectories = [
        ["status", "web1"], ["wait", "web1", "--for", "active"], ["activate", "web1"], ["unprotect", "web1"],
        ["export", "web1", "-"], ["guest", "run", "web1"], ["guest", "list"], ["guest", "stop", "web1"],
        ["standby", "--listen", "127.0.0.1:0"], ["protect", "embedded:web1", "--to", "127.0.0.1:1"],
        ["protect", "embedded:web1", "--to", "127.0.0.1:1", "--detach"],
    ]

    @Test(arguments: commandsWithDirectories)
    func aDirectoryThatCannotBeUsedIs78(arguments: [String]) throws {
        let relative = try program.run(arguments, runtime: "here")
        #expect(relative.exitCode == 78)
        #expect(relative.error.contains("REMUSD_RUNTIME_DIR must be an absolute path"))
        let help = try program.run(
            arguments.prefix { !$0.hasPrefix("web") && !$0.hasPrefix("-") } + ["--help"]
        )
        #expect(help.output.contains("  78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR"))
    }

    /// The directory alone is short enough, its socket for this guest is not.
    @Test func aGuestWhoseSocketDoesNotFitIs78() throws {
        let runtime = directory.path + "/" + String(repeating: "r", count: 60)
        let name = String(repeating: "n", count: 40)
        for arguments in Self.commandsWithDirectories
        where arguments.contains(where: { $0.hasSuffix("web1") }) {
            let named = arguments.map { $0.replacing("web1", with: name) }
            let result = try program.run(named, runtime: runtime)
            #expect(result.exitCode == 78, "\(arguments)")
            #expect(result.error.contains("at most 107 bytes"), "\(arguments)")
        }
    }

    /// A file where a directory should be.
    @Test(arguments: [
        ["guest", "run", "web1"], ["standby", "--listen", "127.0.0.1:0"],
        ["protect", "embedded:web1", "--to", "127.0.0.1:1"],
    ])
    func aDirectoryThatCannotBeMadeIs78(arguments: [String]) throws {
        try directory.write("", to: "file")
        #expect(try program.run(arguments, runtime: directory.file("file") + "/run").exitCode == 78)
    }

    @Test(arguments: [
        ["standby", "--listen", "127.0.0.1:0"], ["protect", "embedded:web1", "--to", "127.0.0.1:7070"],
        ["xl-receive", "127.0.0.1:7070"],
    ])
    func tlsAndPlaintextExcludeEachOther(arguments: [String]) throws {
        let result = try program.run(arguments + ["--tls", "--insecure-plaintext"])
        #expect(result.exitCode == 64 && result.error.contains("one of them"))
        let help = try program.run([arguments[0], "--help"]).output.split(whereSeparator: \.isWhitespace)
        #expect(
            help.joined(separator: " ").lowercased().contains("with tls, which wants 'remusd pair' first")
        )
    }

    @Test func aPairingIsKeptShownAndForgotten() throws {
        let own = try program.run("pair", "pin")
        #expect(own.exitCode == 0 && own.output.contains(" sha256:"))
        #expect(try program.run("pair", "pin").output == own.output)
        let pin = "sha256:" + String(repeating: "5", count: 64)
        let kept = try program.run("pair", "pin", "beta", pin, "--guest", "web1", "--until", "2099-12-31")
        #expect(kept.exitCode == 0 && kept.output.contains("paired with beta: guests web1, until 2099-12-31"))
        let list = try program.run("pair", "list")
        #expect(list.exitCode == 0 && list.output.contains("beta  \(pin)  guests web1"))
        #expect(try program.run("pair", "list", "--output", "json").output.contains("\"not_after\""))
        #expect(try program.run("pair", "forget", "beta").exitCode == 0)
        #expect(try program.run("pair", "list").output.isEmpty)
        #expect(try program.run("pair", "forget", "beta").exitCode == 0)
    }

    @Test(arguments: [
        ["pair"], ["pair", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"], ["pair", "pin", "beta"],
        ["pair", "pin", "beta", "sha256:12"], ["pair", "pin", "../x", String(repeating: "5", count: 64)],
        ["pair", "--to", "127.0.0.1:1", "--until", "tomorrow"],
        ["pair", "--to", "127.0.0.1:1", "--guest", "web1", "--all-guests"],
    ])
    func aPairThatMakesNoSenseIs64(arguments: [String]) throws {
        let result = try program.run(arguments)
        #expect(result.exitCode == 64, "\(result.error)")
    }

    @Test func aProcessLeavesNoCoreDump() throws {
        let pid = try ChildProcess.spawn(
            Program.path,
            ["pair", "--listen", "127.0.0.1:0"],
            inherited: [:],
            environment: ["REMUSD_RUNTIME_DIR=\(directory.path)", "REMUSD_STATE_DIR=\(directory.path)"]
        )
        defer {
            kill(pid, SIGKILL)
            ChildProcess.reap(pid)
        }
        var limit: [Substring] = []
        for _ in 0..<1000 where limit.dropFirst(4).first != "1" {
            usleep(10_000)
            let limits = SmallFile.read("/proc/\(pid)/limits") ?? ""
            let line = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") } ?? ""
            limit = line.split(separator: " ")
        }
        // One byte, soft and hard: with none, a program that takes dumps over a pipe would get one (core(5)).
        #expect(limit.dropFirst(4).prefix(2) == ["1", "1"])
    }

    @Test func aPairingThatNobodyAnswersIs69() throws {
        let result = try program.run("pair", "--to", "127.0.0.1:1", "--timeout", "0")
        #expect(result.exitCode == 69, "\(result.error)")
    }

    @Test(arguments: [
        ["standby"], ["protect"], ["status"], ["wait"], ["activate"], ["unprotect"], ["export"], ["inspect"],
        ["demo"], ["xl-receive"], ["pair"], ["pair", "list"], ["pair", "pin"], ["pair", "forget"],
        ["guest", "run"], ["guest", "list"], ["guest", "stop"], ["plug", "list"], ["plug", "clean"],
    ])
    func everyHelpHasItsExitCodes(command: [String]) throws {
        let help = try program.run(command + ["--help"])
        #expect(help.exitCode == 0)
        let codes = help.output.split(separator: "\n").drop { $0 != "EXIT CODES" }.dropFirst()
            .compactMap { line in line.split(separator: " ").first.flatMap { Int($0) } }
        #expect(codes.starts(with: [0]) && codes.contains(64))
        #expect(codes == codes.sorted())
    }

    @Test func statusIsAlwaysAnArray() throws {
        #expect(try program.run("status").exitCode == 0)
        let nobody = try program.run("status", "web1", "--output", "json")
        #expect(nobody.exitCode == 69)
        #expect(try ControlJSON.decode([GuestStatus].self, from: Array(nobody.output.utf8)).isEmpty)
        let held = GuestStatus(guest: "web1", role: .standby, state: .standby, protected: true)
        let server = try standby([held])
        defer { server.stop() }
        let one = try program.run("status", "web1", "--output", "json")
        #expect(one.exitCode == 0)
        #expect(try ControlJSON.decode([GuestStatus].self, from: Array(one.output.utf8)) == [held])
        #expect(try program.run("status", "web1").output.hasPrefix("web1 is PROTECTED"))
        #expect(try program.run("status").output.hasPrefix("NAME"))
    }

    @Test func waitReachesItsGoalOrSaysWhereThingsStand() throws {
        var lost = GuestStatus(guest: "web1", role: .standby, state: .peerLost)
        lost.reasons = ["no heartbeat for 3s"]
        let server = try standby([lost])
        defer { server.stop() }
        #expect(try program.run("wait", "web1", "--for", "peer-lost").exitCode == 0)
        let late = try program.run("wait", "web1", "--for", "active", "--timeout", "100ms")
        #expect(late.exitCode == 75)
        #expect(late.error.contains("standby: peer-lost"))
        #expect(late.error.contains("no heartbeat for 3s"))
    }

    @Test(arguments: [UnprotectReply.Outcome.ended, .alone, .pending])
    func unprotectWaitsForTheAnswer(outcome: UnprotectReply.Outcome) throws {
        var router = ControlRouter()
        router.on("POST", "/v1/unprotect") { _, _ in
            .encoding(UnprotectReply(outcome: outcome, peer: "dropped at generation 4"))
        }
        let server = try ControlServer(path: paths.primarySocket(GuestName("web1")), handler: router.handle)
        let result = try program.run("unprotect", "web1")
        #expect(result.exitCode == (outcome == .pending ? 75 : 0))
        server.stop()
        let again = try program.run("unprotect", "web1")
        #expect(again.exitCode == 0)
        #expect(again.output.contains("is not protected here"))
    }

    @Test func unprotectOfADeadProtectIsNoSuccess() throws {
        _ = try UnixSocket.listen(at: paths.primarySocket(GuestName("web1")))
        let gone = try program.run("unprotect", "web1")
        #expect(gone.exitCode == 69)
        #expect(gone.error.contains("the guest does not run here either"))
        #expect(!gone.error.contains("again"))
    }

    @Test func exportIsWholeOrNotThere() throws {
        let file = directory.file("image")
        do {
            let server = try standby(export: { sink in
                try [UInt8](repeating: 9, count: 1 << 20).withUnsafeBytes { try sink($0) }
            })
            defer { server.stop() }
            #expect(try program.run("export", "web1", file).exitCode == 0)
            #expect(SmallFile.readBytes(file) == [UInt8](repeating: 9, count: 1 << 20))
            #expect(try program.run("export", "web1", "-").output.utf8.count == 1 << 20)
            #expect(try program.run("export", "web1", "/dev/null").exitCode == 73)
        }
        let broken = try standby(export: { sink in
            try [UInt8](repeating: 8, count: 1 << 20).withUnsafeBytes { try sink($0) }
            throw SystemError("read the image", code: EIO)
        })
        #expect(try program.run("export", "web1", file).exitCode == 75)
        #expect(SmallFile.readBytes(file)?.first == 9, "the old one stays")
        #expect(access(file + ".part", F_OK) != 0)
        broken.stop()
        let none = try standby(export: { _ in
            throw ControlFailure(status: 409, code: "no_image", message: "none")
        })
        #expect(try program.run("export", "web1", file).exitCode == 69)
        none.stop()
        #expect(try program.run("export", "web1", file).exitCode == 69)
        #expect(access(file + ".part", F_OK) != 0)
    }

    /// Ctrl-C in the middle: the signal's thread takes the part away.
    @Test(arguments: [SIGINT, SIGTERM])
    func anInterruptedExportLeavesNothing(signal: Int32) throws {
        let gate = EventGate()
        let server = try standby(export: { sink in
            try [UInt8](repeating: 9, count: 1 << 20).withUnsafeBytes { try sink($0) }
            gate.wait()
        })
        defer { server.stop() }
        defer { gate.open() }
        let file = directory.file("image")
        let pid = try ChildProcess.spawn(
            Program.path,
            ["export", "web1", file],
            environment: ["REMUSD_RUNTIME_DIR=\(directory.path)", "REMUSD_STATE_DIR=\(directory.path)"]
        )
        while (SmallFile.readBytes(file + ".part") ?? []).isEmpty { usleep(10_000) }
        kill(pid, signal)
        #expect(ChildProcess.reap(pid) == .exited(128 + signal))
        #expect(access(file + ".part", F_OK) != 0)
        #expect(access(file, F_OK) != 0)
    }

    @Test func guestListAndStop() throws {
        #expect(try program.run("guest", "list").exitCode == 0)
        #expect(try program.run("guest", "stop", "web1").exitCode == 0)
        let path = try paths.guestSocket(GuestName("web1"))
        var router = ControlRouter()
        let status = EmbeddedGuestStatus.unanswered("web1", state: "running")
        let stopping = EventGate()
        router.on("GET", "/v1/status") { _, _ in .encoding(status) }
        router.on("POST", "/v1/stop") { _, _ in
            stopping.open()
            return .encoding(["outcome": "stopping"])
        }
        let server = try ControlServer(path: path, handler: router.handle)
        let listed = try program.run("guest", "list", "--output", "json")
        #expect(
            try ControlJSON.decode([EmbeddedGuestStatus].self, from: Array(listed.output.utf8)) == [status]
        )
        #expect(try program.run("guest", "stop", "web1", "--timeout", "100ms").exitCode == 75)
        let end = Background {
            stopping.wait()
            server.stop()
        }
        #expect(try program.run("guest", "stop", "web1").exitCode == 0)
        try end.value()
        _ = try UnixSocket.listen(at: path)
        #expect(try program.run("guest", "list").output.contains("dead"))
    }
}
