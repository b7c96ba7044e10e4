import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// A pair of real processes, and hooks on both sides.
@Suite(.timeLimit(.minutes(5))) struct PairHookTests {
    /// The processes of a pair, which share one machine and its directories.
    private final class Pair {
        let primary: HookFolder
        let standby: HookFolder
        private var pids: [Int32] = []
        private(set) var standbyPID: Int32 = 0
        private(set) var protectPID: Int32 = 0

        init() throws {
            primary = try HookFolder()
            standby = try HookFolder()
        }

        /// Starts standby, guest and protect, and waits until the guest is protected.
        func start() throws {
            standbyPID = try spawn("standby", ["--listen", "127.0.0.1:0", "--hooks", standby.path])
            let address = try said("standby", "ready on ")
            let guest = try spawn("guest", ["run", "web1", "--memory", "16MiB", "--listen", "127.0.0.1:0"])
            try standby.directory.write("\(guest)", to: "guest.pid")
            _ = try said("guest", "ready on ")
            protectPID = try spawn(
                "protect",
                ["embedded:web1", "--to", address, "--alone-after", "30s", "--hooks", primary.path]
            )
            try wait(for: "protected")
        }

        func wait(for goal: String) throws {
            let result = try Program(directory: standby.directory)
                .run("wait", "web1", "--for", goal, "--timeout", "2m")
            try #require(result.exitCode == 0, "\(goal): \(result.error)")
        }

        func status(_ socket: String) -> GuestStatus? {
            try? ControlClient(path: standby.directory.file(socket))
                .get("/v1/status", as: [GuestStatus].self).first
        }

        /// What a side takes the loss of the other for, once it is one.
        func failure(_ socket: String) -> String? {
            for _ in 0..<1200 {
                if let failure = status(socket)?.linkFailure { return failure }
                usleep(50_000)
            }
            return nil
        }

        private func spawn(_ command: String, _ arguments: [String]) throws -> Int32 {
            let directory = standby.directory
            let log = try SmallFile.openLog(directory.file("\(command).log"))
            let pid = try ChildProcess.spawn(
                Program.path,
                [command] + arguments,
                inherited: [1: log, 2: log],
                environment: [
                    "REMUSD_RUNTIME_DIR=\(directory.path)", "REMUSD_STATE_DIR=\(directory.path)",
                    "PATH=/usr/bin:/bin",
                ]
            )
            pids.append(pid)
            return pid
        }

        /// The word that follows `words` in a process's log.
        private func said(_ command: String, _ words: String) throws -> String {
            for _ in 0..<3000 {
                let text = SmallFile.read(standby.directory.file("\(command).log")) ?? ""
                for line in text.split(separator: "\n") where line.contains(words) {
                    let rest = line.split(separator: " ")
                    if let on = rest.firstIndex(of: "on"), on + 1 < rest.count { return String(rest[on + 1]) }
                }
                usleep(10_000)
            }
            throw ValueError(kind: command, text: words, rightForm: "it never said so")
        }

        deinit {
            _ = try? Program(directory: standby.directory).run("guest", "stop", "web1")
            let words = (SmallFile.read(standby.directory.file("standby.log")) ?? "").split(separator: " ")
            if let at = words.firstIndex(of: "guardian"), at + 1 < words.count {
                if let guardian = Int32(words[at + 1].prefix { $0.isNumber }) { kill(guardian, SIGKILL) }
            }
            for pid in pids {
                kill(pid, SIGCONT)
                kill(pid, SIGKILL)
                ChildProcess.reap(pid)
            }
        }
    }

    @Test func aScriptFailsAGuestOver() throws {
        let pair = try Pair()
        let hooks = pair.standby
        try hooks.add("10-record", #"echo "$REMUS_SEQ $REMUS_EVENT $REMUS_LINK_FAILURE" >> "$T/told""#)
        // remusd answers while it waits for a hook.
        try hooks.add(
            "20-status",
            #"[ "$REMUS_EVENT" != pre-activate ] || "$REMUSD" status "$REMUS_VM" --output json > "$T/seen""#
        )
        try hooks.add(
            "50-failover",
            #"export REMUSD_FENCE="$T/fence" REMUSD_GRACE=0; exec \#(FailoverHookTests.script) "$@""#
        )
        try hooks.directory.write(
            "#!/bin/sh\ncd \(hooks.directory.path); echo \"$1\" >> fenced; kill -9 \"$(cat guest.pid)\"\n",
            to: "fence"
        )
        try #require(chmod(hooks.directory.file("fence"), 0o700) == 0)
        try pair.start()
        // The guest lives on, behind its plug: nobody may say that it is gone before the fence.
        kill(pair.protectPID, SIGKILL)
        #expect(
            hooks.lines("told", atLeast: 4) == [
                "1 post-protected ", "2 peer-lost reset", "3 pre-activate ", "4 post-activate ",
            ]
        )
        #expect(hooks.lines("fenced") == [PrimaryIdentity.hostName])
        try pair.wait(for: "active")
        #expect((SmallFile.read(hooks.directory.file("seen")) ?? "").contains(#""state" : "peer-lost""#))
    }

    @Test func bothSidesTellAStoppedPeerFromAReset() throws {
        let pair = try Pair()
        let record = #"echo "$REMUS_EVENT $REMUS_LINK_FAILURE" >> "$T/told""#
        try pair.primary.add("10-record", record)
        try pair.standby.add("10-record", record)
        try pair.start()

        kill(pair.protectPID, SIGSTOP)
        #expect(pair.failure("standby.sock") == "stopped")
        #expect(
            pair.status("standby.sock")?.reasons.contains { $0.hasPrefix("stopped: the primary's") } == true
        )
        #expect(pair.standby.lines("told", atLeast: 2).last == "peer-lost stopped")
        kill(pair.protectPID, SIGCONT)
        try pair.wait(for: "protected")
        #expect(pair.status("standby.sock")?.linkFailure == nil)
        // It was away itself, and its peer was not: no loss for its hooks.
        #expect(pair.primary.lines("told") == ["post-protected "])

        kill(pair.standbyPID, SIGSTOP)
        #expect(pair.failure("primary-web1.sock") == "stopped")
        let status = try #require(pair.status("primary-web1.sock"))
        #expect(
            status.reasons.first == "NOT PROTECTED: the standby does not answer (stopped); output is held"
        )
        #expect((status.lastContactAgeMs ?? 0) >= 1000)
        kill(pair.standbyPID, SIGCONT)
        try pair.wait(for: "protected")

        let result = try Program(directory: pair.standby.directory).run("unprotect", "web1")
        #expect(result.exitCode == 0)
        #expect(
            pair.primary.lines("told", atLeast: 4) == [
                "post-protected ", "peer-lost stopped", "post-protected ", "post-ended ",
            ]
        )
        #expect(pair.standby.lines("told", atLeast: 4).last == "post-ended ")
    }
}
