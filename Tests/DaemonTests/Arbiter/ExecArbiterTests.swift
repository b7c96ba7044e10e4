import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// The contract with a program: what it is told, and what its end means.
@Suite(.timeLimit(.minutes(5)))
struct ExecArbiterTests {
    let directory: TemporaryDirectory
    let guest = GuestUUID(high: 1, low: 2)
    let request: GrantRequest

    init() throws {
        Signals.ignore([SIGPIPE])
        directory = try TemporaryDirectory()
        request = ArbiterRace.request(guest, from: 4, id: 0xAB, usedBefore: true)
    }

    /// An arbiter that is a shell script.
    private func arbiter(_ script: String, name: String = "program") throws -> any Arbiter {
        // Written by another process: a file that a thread of this one has open for writing cannot be executed while any
        // child that was started meanwhile has it too (ETXTBSY).
        try directory.write(script, to: name)
        let file = directory.file(name)
        let writer = "printf '#!/bin/sh\\nexec sh \(file) \"$@\"\\n' >\(file).run && chmod 700 \(file).run"
        try #require(ChildProcess.reap(ChildProcess.spawn("/bin/sh", ["-c", writer])) == .exited(0))
        return try #require(makeArbiter(.exec(path: directory.file("\(name).run"))))
    }

    private func ask(_ script: String, deadline: TimeSpan = .seconds(60)) throws -> GrantAnswer {
        try arbiter(script).ask(request, deadline: deadline)
    }

    private func line(_ record: GrantRecord) throws -> String {
        String(decoding: try GrantDocument.encode(record, of: guest), as: UTF8.self)
    }

    @Test func exitZeroIsAGrant() throws {
        #expect(try ask("exit 0") == .granted(request.wanted))
        #expect(try ask("echo Success: Rebooted; exit 0") == .granted(request.wanted))
    }

    @Test func exitOneWithARecordIsARefusal() throws {
        for generation in [5, 9] as [UInt64] {
            let other = GrantRecord(generation: generation, owner: "beta", id: 7)
            #expect(try ask("echo '\(line(other))'; exit 1") == .denied(by: other))
        }
        #expect(try ask("echo '\(line(request.wanted))'; exit 1") == .granted(request.wanted))
        let older = GrantRecord(generation: 3, owner: "beta", id: 7)
        #expect(try ask("echo '\(line(older))'; exit 1") == .memoryLost(found: older))
    }

    @Test func anythingElseIsNoAnswer() throws {
        let current = GrantRecord(generation: 4, owner: "beta", id: 7)
        let scripts: [(String, String)] = [
            ("exit 1", "exit code 1; that is no refusal"),
            ("echo failed to connect >&2; exit 1", "failed to connect"),
            ("echo nonsense; exit 1", "that is no refusal"),
            ("echo '\(try line(current))'; exit 1", "is no reason to"),
            ("exit 2", "exit code 2"), ("exit 75", "exit code 75"),
            ("echo one >&2; echo two >&2; exit 3", "exit code 3: two"),
            ("no-such-command-at-all", "exit code 127"), ("kill -9 $$", "ended by signal 9"),
            ("yes", "says more than 65536 bytes"),
        ]
        for (script, words) in scripts {
            let answer = try ask(script)
            guard case .unavailable(let reason) = answer else {
                Issue.record("\(script): \(answer)")
                continue
            }
            #expect(reason.contains(words), "\(reason)")
            #expect(reason.hasPrefix("exec:\(directory.path)/program.run: "))
        }
    }

    @Test func aProgramThatIsNotThereIsNoAnswer() throws {
        let missing = try #require(makeArbiter(.exec(path: directory.file("missing"))))
        guard case .unavailable(let reason) = missing.ask(request, deadline: .seconds(60)) else {
            Issue.record("granted by nobody")
            return
        }
        #expect(reason.contains("No such file or directory"))
    }

    /// At the deadline it goes, with every child of its group.
    @Test func aProgramThatHangsIsEndedWithItsChildren() throws {
        let file = directory.file("pids")
        let answer = try ask(
            "sleep 1000 & echo $$ $! >\(file).new; mv \(file).new \(file); wait",
            deadline: .seconds(3)
        )
        guard case .unavailable(let reason) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(reason.contains("in time") || reason.contains("no answer within"))
        let pids = (SmallFile.read(file) ?? "").split(whereSeparator: \.isWhitespace).compactMap {
            Int32($0)
        }
        try #require(pids.count == 2)
        for pid in pids { while isRunning(pid) { usleep(1000) } }
    }

    /// A child that goes on in the background holds the pipes: nobody waits for it, and it ends too.
    @Test func aChildInTheBackgroundHoldsNothingUp() throws {
        let file = directory.file("pid")
        #expect(try ask("sleep 1000 & echo $! >\(file); exit 0") == .granted(request.wanted))
        let pid = try #require(Int32((SmallFile.read(file) ?? "").split(separator: "\n").first ?? ""))
        while isRunning(pid) { usleep(1000) }
    }

    private func isRunning(_ pid: Int32) -> Bool {
        guard let state = SmallFile.read("/proc/\(pid)/stat")?.split(separator: ")").last else {
            return false
        }
        return !state.hasPrefix(" Z")
    }

    @Test func isToldTheSameInTwoWays() throws {
        let (input, environment) = (directory.file("input"), directory.file("environment"))
        let script =
            "[ \"$#\" = 1 ] && [ \"$1\" = grant ] || exit 9; cat >\(input); env | grep ^REMUS_ | sort >\(environment)"
        #expect(try ask(script) == .granted(request.wanted))
        let lines = (SmallFile.read(environment) ?? "").split(separator: "\n").map(String.init)
        #expect(
            lines.filter { !$0.hasPrefix("REMUS_TIMEOUT_MS=") } == [
                "REMUS_API=1", "REMUS_EVENT=grant", "REMUS_GENERATION=5", "REMUS_GENERATION_FROM=4",
                "REMUS_ID=00000000000000ab", "REMUS_OWNER=alpha", "REMUS_USED_BEFORE=1",
                "REMUS_UUID=\(guest)",
            ]
        )
        #expect(lines.contains { $0.hasPrefix("REMUS_TIMEOUT_MS=") })
        let json = SmallFile.read(input) ?? ""
        #expect(
            json.hasPrefix(
                #"{"from":4,"generation":5,"guest":"\#(guest)","id":"00000000000000ab","owner":"alpha","#
                    + #""schema":"remusd.grant-request/1","timeout_ms":"#
            )
        )
        #expect(json.hasSuffix(#","used_before":true,"verb":"grant"}"# + "\n"))
    }

    @Test func aRecordIsOneOrNoneOrAnError() throws {
        let record = GrantRecord(generation: 4, owner: "beta", id: 7)
        let deadline = TimeSpan.seconds(60)
        let one = try arbiter("[ $1 = record ] && [ $REMUS_UUID = \(guest) ] && echo '\(line(record))'")
        #expect(try one.record(of: guest, deadline: deadline) == record)
        #expect(try arbiter("exit 0").record(of: guest, deadline: deadline) == nil)
        for script in ["exit 1", "exit 3", "echo nonsense", "echo", "echo '\(try line(record))'; exit 1"] {
            let broken = try arbiter(script)
            #expect(throws: ArbiterError.self) { try broken.record(of: guest, deadline: deadline) }
        }
        let other = try arbiter("echo '\(line(record))'")
        #expect(throws: ArbiterError.self) { try other.record(of: .random(), deadline: deadline) }
    }

    @Test func aCheckAsksForNoGrant() throws {
        _ = try arbiter("[ $1 = check ] || touch \(directory.file("fenced"))")
        let spec = ArbiterSpec.exec(path: directory.file("program.run"))
        #expect(ArbiterProbe.check(spec, deadline: .seconds(60)).outcome == .works)
        #expect(access(directory.file("fenced"), F_OK) != 0)
        _ = try arbiter("echo no power switch >&2; exit 5")
        let check = ArbiterProbe.check(spec, deadline: .seconds(60))
        #expect(check.outcome == .unavailable)
        #expect(check.steps.first?.problem?.contains("no power switch") == true)
    }

    // MARK: the example

    /// examples/arbiter-flock, found from this file.
    private static var example: String {
        let parts = #filePath.split(separator: "/").dropLast(4)
        return "/" + parts.joined(separator: "/") + "/examples/arbiter-flock"
    }

    private func exampleArbiter() throws -> any Arbiter {
        try #require(mkdir(directory.file("store"), 0o700) == 0)
        return try arbiter("ARBITER_DIR=\(directory.file("store")) exec \(Self.example) \"$@\"")
    }

    @Test func theExampleGrantsToOneOnly() throws {
        let arbiter = try exampleArbiter()
        let first = ArbiterRace.request(.random(), from: 0, id: 1)
        guard case .unavailable(let reason) = arbiter.ask(first, deadline: .seconds(60)) else {
            Issue.record("granted on storage that is not mounted")
            return
        }
        #expect(reason.contains("is-mounted"))
        try directory.write("", to: "store/is-mounted")
        let spec = ArbiterSpec.exec(path: directory.file("program.run"))
        #expect(ArbiterProbe.check(spec, deadline: .seconds(60)).outcome == .works)
        try ArbiterRace.run([arbiter, arbiter, arbiter], generations: 3)
    }

    @Test func theExampleKnowsWhatItLost() throws {
        let arbiter = try exampleArbiter()
        try directory.write("", to: "store/is-mounted")
        let guest = GuestUUID.random()
        #expect(try arbiter.record(of: guest, deadline: .seconds(60)) == nil)
        let lost = ArbiterRace.request(guest, from: 3, id: 1, usedBefore: true)
        guard case .unavailable(let reason) = arbiter.ask(lost, deadline: .seconds(60)) else {
            Issue.record("granted without memory")
            return
        }
        #expect(reason.contains("it is lost"))
        let older = ArbiterRace.request(guest, from: 1, id: 2)
        #expect(arbiter.ask(older, deadline: .seconds(60)) == .granted(older.wanted))
        #expect(arbiter.ask(lost, deadline: .seconds(60)) == .memoryLost(found: older.wanted))
        try directory.write("torn", to: "store/\(guest).json")
        #expect(throws: ArbiterError.self) { try arbiter.record(of: guest, deadline: .seconds(60)) }
        guard case .unavailable = arbiter.ask(older, deadline: .seconds(60)) else {
            Issue.record("granted over a torn record")
            return
        }
    }
}
