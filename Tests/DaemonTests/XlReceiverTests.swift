import Checkpoint
import Glibc
import SystemSupport
import Testing
import XenStream

@testable import Daemon

/// What `xl remus` sends: cut into epochs, kept by a standby that was told to, and never called protected.
@Suite(.timeLimit(.minutes(2)))
struct XlReceiverTests {
    private let directory: TemporaryDirectory
    private let program: Program

    init() throws {
        // Whoever is talked to may have ended; remusd ignores the signal too.
        Signals.ignore([SIGPIPE])
        directory = try TemporaryDirectory()
        program = Program(directory: directory)
    }

    private static let config =
        #"{"c_info":{"type":"pv","name":"db","uuid":"00000000-0000-0001-0000-000000000002"},"b_info":{"max_memkb":160}}"#

    /// A checkpointed stream with a configuration like libxl's.
    private func stream(_ guest: SampleStream.Guest = .pv64, checkpoints: Int, config: String = config)
        -> [UInt8]
    {
        var sample = SampleStream(guest, pages: 40, checkpoints: checkpoints, seed: 3)
        sample.outermost = .libxl
        let header = [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
            var writer = StreamWriter(UnsafeMutableRawBufferPointer(buffer))
            Array(config.utf8).withUnsafeBytes { writer.appendXLHeader(json: $0) }
            count = writer.count
        }
        return header + sample.bytes()
    }

    @Test(arguments: [1, 7, 4096, 100_000])
    func aStreamIsCutWhereItsEpochsEnd(_ size: Int) throws {
        let bytes = stream(.hvmWithEmulator, checkpoints: 4)
        var stream = XlRemusStream()
        var epochs: [[UInt8]] = [[]]
        var position = 0
        while position < bytes.count {
            let chunk = Array(bytes[position..<min(position + size, bytes.count)])
            try chunk.withUnsafeBytes { chunk in
                try stream.take(chunk) { piece, endsEpoch in
                    epochs[epochs.count - 1] += piece
                    if endsEpoch { epochs.append([]) }
                }
            }
            position += chunk.count
        }
        #expect(epochs.count == 5 && epochs.last == [])
        #expect(Array(epochs.joined()) == bytes)
        let end: [UInt8] = [4, 0, 0, 0, 0, 0, 0, 0]  // CHECKPOINT_END
        for epoch in epochs.dropLast() { #expect(epoch.suffix(8) == end[...]) }
        let guest = try #require(try stream.guest())
        // Holes reach up to 4 GiB, whatever the guest has of memory.
        #expect(guest.name == "db" && guest.kind == .hvm && guest.pageCount == 1 << 20 + 40)
        #expect(guest.uuid == GuestUUID(high: 1, low: 2) && stream.ramPages == 40)
    }

    @Test func aPVGuestHasAsManyPagesAsItsTableOfFrames() throws {
        var stream = XlRemusStream()
        try self.stream(checkpoints: 1).withUnsafeBytes { try stream.take($0) { _, _ in } }
        #expect(try stream.guest()?.pageCount == 40)
    }

    @Test func aGuestWithoutANameIsRefused() throws {
        var stream = XlRemusStream()
        try self.stream(checkpoints: 1, config: "{}").withUnsafeBytes { try stream.take($0) { _, _ in } }
        #expect(throws: XlPeerError.self) { try stream.guest() }
    }

    // MARK: With a standby

    /// A process that stays, and its output.
    private struct Running {
        let pid: Int32
        let output: String

        /// A standby that is gone leaves its guardian, which holds images for the next one, without end.
        func end() {
            kill(pid, SIGTERM)
            ChildProcess.reap(pid)
            let said = SmallFile.read(output) ?? ""
            let guardian = said.split(whereSeparator: { " )".contains($0) }).drop { $0 != "guardian" }
            if let pid = guardian.dropFirst().first.flatMap({ Int32($0) }) { kill(pid, SIGKILL) }
        }
    }

    private func start(_ arguments: [String], input: Descriptor? = nil) throws -> Running {
        let output = directory.file("out.\(UInt32.random(in: 0 ... .max))")
        let raw = open(output, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        try #require(raw >= 0)
        let file = Descriptor(owning: raw)
        var inherited = [Int32(1): file, 2: file]
        if let input { inherited[0] = input }
        let pid = try ChildProcess.spawn(
            Program.path,
            arguments,
            inherited: inherited,
            environment: [
                "REMUSD_RUNTIME_DIR=\(directory.path)", "REMUSD_STATE_DIR=\(directory.path)",
                "PATH=/usr/bin:/bin",
            ]
        )
        return Running(pid: pid, output: output)
    }

    private func standby(_ options: String...) throws -> (Running, String) {
        let standby = try start(["standby", "--listen", "127.0.0.1:0"] + options)
        for _ in 0..<1000 {
            let said = SmallFile.read(standby.output) ?? ""
            if let address = said.split(separator: " ").dropFirst(3).first, said.hasSuffix(")\n") {
                return (standby, String(address))
            }
            usleep(10_000)
        }
        standby.end()
        throw GuestError(guest: "db", reason: "the standby is not ready")
    }

    /// What the standby says, once it says that; what it said last otherwise.
    private func status(_ condition: (GuestStatus) -> Bool = { _ in true }) throws -> GuestStatus? {
        var last: GuestStatus?
        for _ in 0..<200 {
            let said = try program.run("status", "db", "--output", "json").output
            last = try ControlJSON.decode([GuestStatus].self, from: Array(said.utf8)).first
            if let last, condition(last) { return last }
            usleep(10_000)
        }
        return last
    }

    private func send(_ bytes: some Collection<UInt8>, to pipe: Descriptor) throws {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(pipe.raw, $0.baseAddress, $0.count) }
            try #require(count > 0)
            rest = rest.dropFirst(count)
        }
    }

    @Test func wholeCheckpointsAreKeptAndNeverCalledProtected() throws {
        let (standby, address) = try standby("--unsafe-peer", "--activation", "cold")
        defer { standby.end() }
        var pipe: (read: Descriptor, write: Descriptor)? = try Pipe.create()
        let arguments = ["xl-receive", address, "--primary", "alpha", "xl", "migrate-receive", "-r"]
        let receiver = try start(arguments, input: pipe?.read)
        let bytes = stream(checkpoints: 4)
        let whole = stream(checkpoints: 3).count
        // Three checkpoints, and one without its last byte.
        try send(bytes.dropLast(), to: try #require(pipe?.write))
        let waited = try program.run("wait", "db", "--for", "unacknowledged")
        #expect(waited.exitCode == 0, "\(waited.error)")
        let live = try #require(try status { $0.epoch.committed == 2 })
        #expect(live.state == .unacknowledged && !live.protected && !live.mayActivate)
        #expect(live.epoch.committed == 2 && live.peer == "alpha")
        #expect(live.reasons.first?.contains("no acknowledgement") == true)
        let both = ["activate", "db", "--confirm-fenced", "alpha", "--accept-rollback"]
        #expect(try program.run(both).exitCode == 10)
        pipe = nil
        #expect(ChildProcess.reap(receiver.pid) == .exited(0))
        let said = SmallFile.read(receiver.output) ?? ""
        #expect(said.hasPrefix("xl migration receiver ready, send binary domain data.\n"))
        #expect(try program.run("wait", "db", "--for", "peer-lost").exitCode == 0)
        // By hand only, and with both words.
        #expect(try program.run("activate", "db", "--accept-rollback").exitCode == 13)
        #expect(try program.run("activate", "db", "--confirm-fenced", "alpha").exitCode == 16)
        #expect(try program.run(both).exitCode == 15)
        // Exactly the third checkpoint.
        #expect(try program.run("export", "db", directory.file("image")).exitCode == 0)
        let shown = try program.run("inspect", "--summary", directory.file("image"))
        #expect(shown.exitCode == 0 && shown.output.contains("whole"), "\(shown.output)")
        #expect(whole < bytes.count)
    }

    @Test func aSecondOneTakesTheNextGeneration() throws {
        let (standby, address) = try standby("--unsafe-peer", "--activation", "cold")
        defer { standby.end() }
        for generation in 1...2 {
            let (input, output) = try Pipe.create()
            let receiver = try start(["xl-receive", address], input: input)
            try send(stream(checkpoints: 2), to: output)
            let now = try status { $0.generation == UInt64(generation) && $0.epoch.committed == 1 }
            #expect(now?.generation == UInt64(generation))
            kill(receiver.pid, SIGKILL)
            ChildProcess.reap(receiver.pid)
        }
    }

    @Test func whatXlDoesNotAddIsNoArgument() throws {
        #expect(try program.run("xl-receive", "127.0.0.1:1", "--silent-aftre", "3s").exitCode == 64)
    }

    @Test func aStandbyThatWasNotToldRefuses() throws {
        let (standby, address) = try standby("--activation", "cold")
        defer { standby.end() }
        let (input, output) = try Pipe.create()
        let receiver = try start(["xl-receive", address], input: input)
        try send(stream(checkpoints: 1), to: output)
        #expect(ChildProcess.reap(receiver.pid) == .exited(75))
        #expect(SmallFile.read(receiver.output)?.contains("--unsafe-peer") == true)
        let said = try program.run("status", "db", "--output", "json").output
        let statuses = try ControlJSON.decode([GuestStatus].self, from: Array(said.utf8))
        #expect(statuses.allSatisfy { $0.epoch.committed == nil })
    }
}
