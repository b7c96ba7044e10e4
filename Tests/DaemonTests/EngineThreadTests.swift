import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// `--cpu` and `--realtime`.
@Suite(.timeLimit(.minutes(5))) struct EngineThreadTests {
    let directory: TemporaryDirectory
    let program: Program

    init() throws {
        directory = try TemporaryDirectory()
        program = Program(directory: directory)
    }

    private static var canBeRealTime: Bool {
        var thread = EngineThread()
        thread.isRealTime = true
        return (try? thread.check()) != nil
    }

    @Test func aProcessorThatItMayNotRunOnIsRefusedWithThoseThatItMay() {
        var thread = EngineThread()
        thread.processor = 1023
        let refusal = EngineThread.Refusal.processor(1023, allowed: ProcessorPin.allowed)
        #expect(throws: refusal) { try thread.check() }
    }

    @Test func refusalsSayWhatToDo() {
        let processor = EngineThread.Refusal.processor(9, allowed: [0, 2, 3, 4, 7])
        #expect(
            processor.description == "--cpu 9: this process may not run on that processor, only on 0, 2-4, 7"
        )
        let realTime = EngineThread.Refusal.realTime(SystemError("", code: EPERM))
        #expect(realTime.description.contains("Operation not permitted"))
        #expect(realTime.description.contains("CAP_SYS_NICE"))
    }

    @Test func itHasItWhileItRunsAndGivesItBack() throws {
        let (processors, policy) = (ProcessorPin.allowed, SchedulingPolicy.current)
        var thread = EngineThread()
        thread.processor = processors.last
        thread.isRealTime = Self.canBeRealTime
        try thread.check()
        #expect(ProcessorPin.allowed == processors)
        let log = CapturedLog()
        let seen = thread.run(log.logger) { (ProcessorPin.allowed, SchedulingPolicy.current) }
        #expect(seen.0 == processors.suffix(1))
        #expect((seen.1 == .realTime) == thread.isRealTime)
        #expect(ProcessorPin.allowed == processors)
        if geteuid() == 0 { #expect(SchedulingPolicy.current == policy) }
        #expect(log.lines.isEmpty)
    }

    /// The guest is protected all the same.
    @Test func whatCannotBeHadAnyMoreIsDoneWithout() {
        var thread = EngineThread()
        thread.processor = 1023
        let (log, before) = (CapturedLog(), ProcessorPin.allowed)
        #expect(thread.run(log.logger) { ProcessorPin.allowed } == before)
        #expect(log.lines.count == 1)
    }

    @Test(arguments: [["--cpu", "x"], ["--cpu", ""], ["--cpu"], ["--realtime=1"]])
    func wrongUsageIs64(_ arguments: [String]) throws {
        let result = try program.run(["protect", "embedded:web1", "--to", "127.0.0.1:1"] + arguments)
        #expect(result.exitCode == 64)
    }

    @Test(arguments: [[], ["--detach"]])
    func aProcessorThatIsNotThereIs78(_ more: [String]) throws {
        let result = try program.run(
            ["protect", "embedded:web1", "--to", "127.0.0.1:1", "--cpu", "1023"] + more
        )
        #expect(result.exitCode == 78)
        #expect(result.error.contains("--cpu 1023: this process may not run on that processor, only on "))
        // Nothing was begun.
        #expect(SmallFile.read(directory.file("primary-web1.json")) == nil)
    }

    /// As root too, without the capability.
    @Test func realTimeWithoutThePrivilegeIs78() throws {
        var arguments = [Program.path, "protect", "embedded:web1", "--to", "127.0.0.1:1", "--realtime"]
        if geteuid() == 0 {
            arguments =
                [
                    "/usr/bin/setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice",
                    "/usr/bin/prlimit", "--rtprio=0",
                ] + arguments
        } else if Self.canBeRealTime {
            return
        }
        let log = directory.file("denied.log")
        let pid = try ChildProcess.spawn(
            arguments[0],
            Array(arguments.dropFirst()),
            inherited: [2: SmallFile.openLog(log)],
            environment: ["REMUSD_RUNTIME_DIR=\(directory.path)", "REMUSD_STATE_DIR=\(directory.path)"]
        )
        #expect(ChildProcess.reap(pid) == .exited(78))
        #expect(SmallFile.read(log)?.contains("--realtime: the kernel denies real-time priority") == true)
    }

    /// One thread of the process is where it was told to be, in the background too; all others are where they were.
    @Test(arguments: [false, true])
    func aProtectionHasIt(_ detached: Bool) throws {
        let own = try #require(ProcessorPin.allowed.last)
        let guest = try ChildProcess.spawn(
            Program.path,
            ["guest", "run", "web1", "--memory", "16MiB", "--listen", "127.0.0.1:0"],
            inherited: [1: SmallFile.openLog(directory.file("guest.log"))],
            environment: environment
        )
        defer {
            kill(guest, SIGTERM)
            ChildProcess.reap(guest)
        }
        try until("the guest runs") {
            SmallFile.read(directory.file("guest.log"))?.contains("ready on ") == true
        }
        let realTime = Self.canBeRealTime ? ["--realtime"] : []
        let arguments =
            ["protect", "embedded:web1", "--to", "127.0.0.1:1", "--cpu", "\(own)"] + realTime
        let log = directory.file("primary-web1.log")
        var child: Int32?
        if detached {
            #expect(try program.run(arguments + ["--detach"]).exitCode == 0)
        } else {
            child = try ChildProcess.spawn(
                Program.path,
                arguments,
                inherited: [2: SmallFile.openLog(log)],
                environment: environment
            )
        }
        try until("protection began") { SmallFile.read(log)?.contains("protecting") == true }
        let text = SmallFile.read(log) ?? ""
        #expect(text.contains("cpu=\(own)"))
        #expect(text.contains("realtime=yes") == !realTime.isEmpty)
        let pid = try #require(child ?? process(among: arguments))
        try until("the engine runs") { processors(of: "\(pid)", pid) == "\(own)" }
        let everywhere = processors(of: "\(getpid())", getpid())
        for task in SmallFile.names(in: "/proc/\(pid)/task") where task != "\(pid)" {
            let name = SmallFile.read("/proc/\(pid)/task/\(task)/comm") ?? ""
            // The helper keeps off the engine's processor, and is its equal.
            guard name != "copy\n" else { continue }
            #expect(processors(of: task, pid) == everywhere, "\(name)")
            #expect(policy(of: task, pid) == "\(SCHED_OTHER)", "\(name)")
        }
        if !realTime.isEmpty {
            try until("the engine is real-time") { policy(of: "\(pid)", pid) == "\(SCHED_FIFO)" }
        }
        #expect(try program.run("unprotect", "web1").exitCode == 0)
        if let child { #expect(ChildProcess.reap(child) == .exited(0)) }
    }

    private var environment: [String] {
        [
            "REMUSD_RUNTIME_DIR=\(directory.path)", "REMUSD_STATE_DIR=\(directory.path)",
            "PATH=/usr/bin:/bin",
        ]
    }

    private func until(_ what: Comment, _ isSo: () -> Bool) throws {
        for _ in 0..<3000 {
            if isSo() { return }
            usleep(10_000)
        }
        try #require(isSo(), what)
    }

    /// The process that was started with these and in this directory.
    private func process(among arguments: [String]) -> Int32? {
        SmallFile.names(in: "/proc").compactMap { Int32($0) }.first { pid in
            let line = (SmallFile.read("/proc/\(pid)/cmdline") ?? "").split(separator: "\0").map(String.init)
            let environment = SmallFile.read("/proc/\(pid)/environ") ?? ""
            return Array(line.dropFirst()) == arguments && environment.contains(directory.path)
        }
    }

    private func processors(of task: String, _ pid: Int32) -> String? {
        (SmallFile.read("/proc/\(pid)/task/\(task)/status") ?? "").split(separator: "\n")
            .first { $0.hasPrefix("Cpus_allowed_list:") }?.split(separator: "\t").last.map(String.init)
    }

    /// The 41st field of stat (proc(5)).
    private func policy(of task: String, _ pid: Int32) -> String? {
        let text = SmallFile.read("/proc/\(pid)/task/\(task)/stat") ?? ""
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 38 ? String(fields[38]) : nil
    }
}
