import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// Hooks, run: real scripts, told in order, bounded, and never in anybody's way.
@Suite(.timeLimit(.minutes(2))) struct HookRunnerTests {
    private let folder: HookFolder

    init() throws { folder = try HookFolder() }

    private func call(_ event: HookEvent, generation: UInt64 = 7) -> HookCall {
        var call = HookCall(event, guest: "web1", uuid: "u-u", at: 1_700_000_000_123_456_789)
        call.generation = generation
        return call
    }

    @Test func aHookHearsEverything() throws {
        try folder.add("10", #"env | grep ^REMUS_ | sort > "$T/env"; echo "$@" > "$T/arguments""#)
        let runner = try folder.runner()
        var told = call(.peerLost)
        told.roleOld = .standby
        told.roleNew = .standby
        told.state = .peerLost
        told.epoch = 41
        told.peer = "alpha"
        told.reason = "two\nlines"
        told.linkFailure = .stopped
        told.lastContactAgeMs = 1100
        told.mayActivate = true
        runner.enqueue(told)
        runner.drain()
        #expect(folder.lines("arguments") == ["peer-lost web1"])
        #expect(
            folder.lines("env") == [
                "REMUS_API=1", "REMUS_EPOCH=41", "REMUS_EVENT=peer-lost", "REMUS_GENERATION=7",
                "REMUS_LAST_CONTACT_MS=1100", "REMUS_LINK_FAILURE=stopped", "REMUS_MAY_ACTIVATE=1",
                "REMUS_PEER=alpha", "REMUS_REASON=two lines", "REMUS_RETRY=0", "REMUS_ROLE_NEW=standby",
                "REMUS_ROLE_OLD=standby", "REMUS_SEQ=1", "REMUS_STATE=peer-lost",
                "REMUS_TS_EPOCH=1700000000", "REMUS_TS_USEC=123456", "REMUS_UUID=u-u", "REMUS_VM=web1",
            ]
        )
    }

    @Test func eventsAndHooksKeepTheirOrderAndNumbers() throws {
        for name in ["20", "10"] {
            try folder.add(name, #"echo "$REMUS_SEQ $REMUS_EVENT \#(name)" >> "$T/told""#)
        }
        let runner = try folder.runner()
        for event in [.postProtected, .peerLost, .postActivate] as [HookEvent] { runner.enqueue(call(event)) }
        runner.drain()
        let later = try folder.runner()
        later.enqueue(call(.postEnded))
        later.drain()
        #expect(
            folder.lines("told") == [
                "1 post-protected 10", "1 post-protected 20", "2 peer-lost 10", "2 peer-lost 20",
                "3 post-activate 10", "3 post-activate 20", "4 post-ended 10", "4 post-ended 20",
            ]
        )
    }

    @Test func aHookHasNothingToReadAndASessionOfItsOwn() throws {
        try folder.add("10", #"cat > "$T/input"; echo "$(cut -d' ' -f5,6 /proc/$$/stat) $$" > "$T/group""#)
        let runner = try folder.runner()
        runner.enqueue(call(.peerLost))
        runner.drain()
        #expect(SmallFile.read(folder.directory.file("input")) == "")
        let numbers = folder.lines("group").first?.split(separator: " ") ?? []
        #expect(numbers.count == 3 && numbers[0] == numbers[2] && numbers[1] == numbers[2])
    }

    @Test func aSlowHookIsEndedWithItsChildrenAndTheNextHasItsTurn() throws {
        try folder.add("10", #"sleep 1000 & echo $! > "$T/child"; echo $$ > "$T/own"; wait"#)
        try folder.add("20", #"echo there > "$T/next""#)
        let runner = try folder.runner(timeout: .seconds(5))
        runner.enqueue(call(.peerLost))
        // The caller goes on while it runs, and what comes next waits for its turn.
        #expect(folder.lines("child", atLeast: 1).count == 1)
        #expect(folder.lines("next").isEmpty)
        runner.drain()
        #expect(folder.lines("next") == ["there"])
        for file in ["child", "own"] {
            let pid = try #require(Int32(folder.lines(file).first ?? ""))
            // Reaped by whoever has it now, if not by us.
            for _ in 0..<500 where kill(pid, 0) == 0 && !Self.isZombie(pid) { usleep(10_000) }
            #expect(kill(pid, 0) != 0 || Self.isZombie(pid))
        }
    }

    private static func isZombie(_ pid: Int32) -> Bool {
        (SmallFile.read("/proc/\(pid)/stat") ?? "").contains(") Z ")
    }

    @Test func moreThanCanWaitIsRefusedNotWaitedFor() throws {
        try folder.add("10", #"echo "$REMUS_SEQ" >> "$T/told"; while [ ! -e "$T/go" ]; do sleep 0.05; done"#)
        let runner = try folder.runner()
        for _ in 0..<200 { runner.enqueue(call(.peerLost)) }
        try folder.directory.write("", to: "go")
        runner.drain()
        // One that runs, 64 that wait, one more if the first had begun by then.
        #expect((64...66).contains(folder.lines("told").count))
    }

    @Test func aHookThatSaysTooMuchIsCutShort() throws {
        var heard: [String] = []
        let stop = try EventFD()
        let process = HookProcess(
            path: "/bin/sh",
            arguments: ["-c", "yes | head -n 5000; head -c 3000 /dev/zero | tr '\\0' x"],
            environment: ["PATH=/usr/bin:/bin"]
        )
        let deadline = Clock.monotonic + 60_000_000_000
        let result = process.run(limit: .seconds(60), until: deadline, stop: stop.descriptor) {
            heard.append($0)
        }
        #expect(result.outcome == .ended(.exited(0)))
        #expect(heard.count == 201 && heard.dropLast().allSatisfy { $0 == "y" })
        #expect(heard.last?.contains("200 lines") == true)
    }

    @Test func aLongLineIsCutIntoShortOnes() throws {
        var heard: [Int] = []
        let stop = try EventFD()
        let process = HookProcess(
            path: "/bin/sh",
            arguments: ["-c", "head -c 2500 /dev/zero | tr '\\0' x; exit 3"],
            environment: ["PATH=/usr/bin:/bin"]
        )
        let deadline = Clock.monotonic + 60_000_000_000
        let result = process.run(limit: .seconds(60), until: deadline, stop: stop.descriptor) {
            heard.append($0.count)
        }
        #expect(heard == [1000, 1000, 500])
        #expect(result.outcome == .ended(.exited(3)) && result.lastLine.count == 500)
    }

    // MARK: Vetoes

    @Test func nobodyObjectsWhereThereIsNoHook() throws {
        #expect(try folder.runner().veto(of: call(.preActivate)) == nil)
        // And nothing is written where nobody is told anything.
        #expect(SmallFile.read(folder.paths.hookJournal(.standby, try GuestName("web1"))) == nil)
    }

    @Test func theFirstVetoCountsAndItsLastWordsAreTheReason() throws {
        try folder.add("10", "exit 0")
        try folder.add("20", "echo not tonight; exit 3")
        try folder.add("30", #"echo asked > "$T/asked""#)
        let veto = try folder.runner().veto(of: call(.preActivate))
        #expect(veto == "pre-activate hook \(folder.path)/20: exit code 3: not tonight")
        #expect(folder.lines("asked").isEmpty)
    }

    @Test func aHookThatIsNotDoneInTimeObjects() throws {
        try folder.add("10", "sleep 1000")
        let veto = try folder.runner(timeout: .milliseconds(500)).veto(of: call(.preActivate))
        #expect(veto == "pre-activate hook \(folder.path)/10: not done after 500ms, and ended")
    }

    @Test func aHookThatCannotBeStartedObjects() throws {
        try folder.directory.write("#!/no/such/shell\n", to: "hooks.d/10")
        try #require(chmod("\(folder.path)/10", 0o700) == 0)
        #expect(try folder.runner().veto(of: call(.preActivate))?.contains("cannot be started") == true)
    }

    /// A failover script is itself a hook: what it orders asks other hooks while it runs.
    @Test func hooksAreAskedWhileAnotherRuns() throws {
        try folder.add(
            "10",
            #"[ "$REMUS_EVENT" = pre-activate ] || while [ ! -e "$T/go" ]; do sleep 0.05; done"#
        )
        let runner = try folder.runner()
        runner.enqueue(call(.peerLost))
        #expect(runner.veto(of: call(.preActivate)) == nil)
        try folder.directory.write("", to: "go")
        runner.drain()
    }

    // MARK: Deaths

    @Test func whatWasNotDoneIsToldAgainUnderTheSameNumber() throws {
        try folder.add(
            "10",
            #"echo "$REMUS_SEQ $REMUS_RETRY $REMUS_EVENT" >> "$T/told"; [ -e "$T/go" ] || sleep 1000"#
        )
        let first = try folder.runner()
        first.enqueue(call(.postActivate))
        #expect(folder.lines("told", atLeast: 1) == ["1 0 post-activate"])
        first.stop()
        first.drain()
        try folder.directory.write("", to: "go")
        let second = try folder.runner()
        second.takeUp()
        // It is known to have been told, or to be about to be.
        second.ensure(call(.postActivate))
        second.enqueue(call(.postEnded))
        second.drain()
        #expect(folder.lines("told") == ["1 0 post-activate", "1 1 post-activate", "2 0 post-ended"])
        let third = try folder.runner()
        third.takeUp()
        third.drain()
        #expect(folder.lines("told").count == 3)
    }

    private func runner(_ log: CapturedLog, timeout: TimeSpan = .seconds(30)) throws -> HookRunner {
        HookRunner(
            HookOptions(directory: folder.path, timeout: timeout),
            folder.paths,
            role: .standby,
            try GuestName("web1"),
            log.logger
        )
    }

    /// A fencing script that is begun to be killed may have done half of its work.
    @Test func whatIsStoppedBeginsNothingMore() throws {
        try folder.add("10", #"echo 10 >> "$T/told"; sleep 1000"#)
        try folder.add("20", "exit 0")
        let log = CapturedLog()
        let runner = try runner(log)
        runner.enqueue(call(.peerLost))
        #expect(folder.lines("told", atLeast: 1) == ["10"])
        runner.stop()
        runner.drain()
        #expect(log.lines.filter { $0 == "hook" }.count == 1)
        #expect(log.lines.contains("hooks are not done with peer-lost: they were stopped"))
        runner.enqueue(call(.postEnded))
        #expect(log.lines.last == "hooks are not told of post-ended: they were stopped")
        // Nor is anybody asked, and nobody's silence is a yes.
        #expect(runner.veto(of: call(.preActivate)) != nil)
        #expect(log.lines.filter { $0 == "hook" }.count == 1)
    }

    @Test func whatIsNotDoneInTimeIsEndedWithTheWaiting() throws {
        for name in ["10", "20", "30", "40", "50", "60"] {
            try folder.add(name, #"echo $$ >> "$T/pids"; exec sleep 1000"#)
        }
        let log = CapturedLog()
        let runner = try runner(log, timeout: .milliseconds(700))
        runner.enqueue(call(.postEnded))
        runner.drain()
        let begun = log.lines.filter { $0 == "hook" }.count
        for pid in folder.lines("pids").compactMap({ Int32($0) }) {
            #expect(kill(pid, 0) != 0 || Self.isZombie(pid))
        }
        #expect(begun < 6 && log.lines.contains("hooks are not done in time, and are ended"))
    }

    /// A guest that reboots is protected again beside the hooks of its first protection.
    @Test func whatRunsIsNotTakenForAnEarlierDaemons() throws {
        try folder.add(
            "10",
            #"echo "$REMUS_SEQ $REMUS_RETRY" >> "$T/told"; while [ ! -e "$T/go" ]; do sleep 0.05; done"#
        )
        let runner = try folder.runner()
        runner.takeUp()
        runner.enqueue(call(.postEnded))
        #expect(folder.lines("told", atLeast: 1) == ["1 0"])
        runner.takeUp()
        try folder.directory.write("", to: "go")
        runner.drain()
        #expect(folder.lines("told") == ["1 0"])
    }

    @Test func aLossIsSeenAnewAndNotToldAgain() throws {
        try folder.add("10", #"echo "$REMUS_SEQ" >> "$T/told"; sleep 1000"#)
        let first = try folder.runner()
        first.enqueue(call(.peerLost))
        #expect(folder.lines("told", atLeast: 1) == ["1"])
        first.stop()
        first.drain()
        let second = try folder.runner()
        second.takeUp()
        second.drain()
        #expect(folder.lines("told") == ["1"])
    }

    @Test func whatADaemonDidNotComeToIsToldByTheNext() throws {
        try folder.add("10", #"echo "$REMUS_SEQ $REMUS_EVENT $REMUS_GENERATION" >> "$T/told""#)
        // Hooks that were never told anything are not told of the past either.
        let fresh = try folder.runner()
        fresh.ensure(call(.postActivate))
        fresh.drain()
        #expect(folder.lines("told").isEmpty)
        fresh.enqueue(call(.peerLost))
        fresh.drain()
        let next = try folder.runner()
        next.ensure(call(.postActivate, generation: 8))
        next.drain()
        next.ensure(call(.postActivate, generation: 8))
        next.drain()
        #expect(folder.lines("told") == ["1 peer-lost 7", "2 post-activate 8"])
    }

    @Test func numbersThatWereLostAreNotUsedAgain() throws {
        try folder.add("10", #"echo "$REMUS_SEQ" >> "$T/told""#)
        try folder.directory.write("no JSON", to: "hooks-standby-web1.json")
        let runner = try folder.runner()
        runner.enqueue(call(.peerLost))
        runner.drain()
        let number = try #require(UInt64(folder.lines("told").first ?? ""))
        #expect(number > 1_700_000_000)
    }
}
