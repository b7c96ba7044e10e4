import Glibc
import SystemSupport
import Testing

/// A thread that has a processor, or real-time priority, for itself: what it starts has neither, and it gives both back.
@Suite(.serialized) struct DedicatedThreadTests {
    private static let pageSize = 4096

    /// Root, as a rule; the policy can be given back whole.
    static var canBeRealTime: Bool {
        let before = SchedulingPolicy.current
        guard (try? SchedulingPolicy.realTime.apply()) != nil else { return false }
        return (try? before.apply()) != nil && .current == before
    }

    /// Fields of /proc/PID/stat from the third on, and there the 41st (proc(5)).
    private static func policy(ofStat text: String) -> Int32? {
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 38 ? Int32(fields[38]) : nil
    }

    private static func processors(ofStatus text: String) -> Substring? {
        text.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
    }

    /// What a child says of itself.
    private static func child() throws -> String {
        let (readEnd, writeEnd) = try Pipe.create()
        let pid = try ChildProcess.spawn(
            "/bin/cat",
            ["/proc/self/status", "/proc/self/stat"],
            inherited: [1: writeEnd]
        )
        #expect(ChildProcess.reap(pid) == .exited(0))
        var text = [UInt8](repeating: 0, count: 65536)
        let count = read(readEnd.raw, &text, text.count)
        return String(decoding: text.prefix(max(0, count)), as: UTF8.self)
    }

    /// Where a thread may run that this one starts, and by what policy.
    private static func thread() throws -> (processors: [Int], policy: SchedulingPolicy) {
        let seen = Monitor(([Int](), SchedulingPolicy.realTime))
        try WorkerThread("child") {
            seen.withLock { $0 = (ProcessorPin.allowed, .current) }
        }.join()
        return seen.withLock { $0 }
    }

    @Test func aProcessorIsNotInherited() throws {
        let before = ProcessorPin.allowed
        let status = Self.processors(ofStatus: SmallFile.read("/proc/thread-self/status") ?? "")
        let own = try #require(before.last)
        try ProcessorPin.dedicate(to: own)
        defer { ProcessorPin.release() }
        #expect(ProcessorPin.allowed == [own])
        #expect(ProcessorPin.current == own)
        #expect(try Self.thread().processors == before)
        #expect(try Self.processors(ofStatus: Self.child()) == status)
        // Having started them it is where it was.
        #expect(ProcessorPin.allowed == [own])
        ProcessorPin.release()
        #expect(ProcessorPin.allowed == before)
        // And again: a guest that rebooted.
        try ProcessorPin.dedicate(to: own)
        #expect(try Self.thread().processors == before)
        ProcessorPin.release()
        #expect(ProcessorPin.allowed == before)
    }

    @Test func aProcessorThatIsNotThereIsRefused() {
        let before = ProcessorPin.allowed
        #expect(throws: SystemError.self) { try ProcessorPin.dedicate(to: 1023) }
        #expect(ProcessorPin.allowed == before)
        ProcessorPin.release()
        #expect(ProcessorPin.allowed == before)
    }

    @Test(.enabled(if: canBeRealTime, "real-time priority wants root, or CAP_SYS_NICE"))
    func realTimeIsNotInherited() throws {
        let before = SchedulingPolicy.current
        try SchedulingPolicy.realTime.apply()
        defer { try? before.apply() }
        #expect(SchedulingPolicy.current == .realTime)
        #expect(Self.policy(ofStat: SmallFile.read("/proc/thread-self/stat") ?? "") == SCHED_FIFO)
        #expect(try Self.thread().policy == before)
        #expect(
            try Self.policy(ofStat: String(Self.child().split(separator: "\n").last ?? "")) == SCHED_OTHER
        )
        try before.apply()
        #expect(SchedulingPolicy.current == before)
    }

    /// A real-time owner would wait for whatever is before an ordinary helper.
    @Test(.enabled(if: canBeRealTime, "real-time priority wants root, or CAP_SYS_NICE"))
    func theCopyingHelperHasTheOwnersPolicy() throws {
        let before = SchedulingPolicy.current
        let copier = PageCopier(helped: true)
        #expect(try Self.becomes(isRealTime: false, copier))
        try SchedulingPolicy.realTime.apply()
        defer { try? before.apply() }
        #expect(try Self.becomes(isRealTime: true, copier))
        try before.apply()
        #expect(try Self.becomes(isRealTime: false, copier))
    }

    /// Has pages copied until the helper, or no helper of any test, is real-time; the pages arrive.
    private static func becomes(isRealTime: Bool, _ copier: PageCopier) throws -> Bool {
        let count = PageCopier.capacity
        let source = try Mapping.anonymous(count: count * pageSize)
        let target = try Mapping.anonymous(count: count * pageSize)
        for round in 1...200 {
            memset(source.base, Int32(round), source.count)
            copier.pauseComes()
            copier.pauseBegins()
            for page in 0..<count {
                copier.add(source.base + page * pageSize, to: target.base + page * pageSize)
            }
            copier.finish()
            copier.pauseEnds()
            #expect(memcmp(source.base, target.base, source.count) == 0)
            let tasks = SmallFile.names(in: "/proc/self/task").compactMap {
                SmallFile.read("/proc/self/task/\($0)/stat")
            }
            let helpers = tasks.filter { $0.contains("(copy)") }.map { policy(ofStat: $0) }
            if helpers.contains(SCHED_FIFO) == isRealTime { return true }
            usleep(10_000)
        }
        return false
    }
}
