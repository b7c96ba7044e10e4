import Checkpoint

/// The arbiter: one record, swapped as `GrantRequest.judge` has it. Who asks may not reach it, may not hear its answer, or
/// hear that there is none while what was asked is still on its way.
final class SimulatedArbiter {
    private unowned let world: World
    private(set) var record: GrantRecord?
    private var swappedAt = Instant(nanoseconds: 0)
    /// Nobody reaches it before; from a host, nobody from there.
    var downUntil = Instant(nanoseconds: 0)
    var cutUntil: [Instant]
    /// Requests and answers get lost, or take their time.
    var isUnreliable = false
    /// So long does a side wait for an answer.
    static let deadline = TimeSpan.seconds(2)

    init(in world: World, hosts: Int) {
        self.world = world
        cutUntil = Array(repeating: downUntil, count: hosts)
    }

    /// It has no record any more.
    func forget() { record = nil }

    /// Asks for a process, which hears an answer at the deadline at the latest.
    func ask(_ request: GrantRequest, by process: Process, _ answer: @escaping (GrantAnswer) -> Void) {
        var isAnswered = false
        func tell(_ what: GrantAnswer) {
            guard !isAnswered else { return }
            isAnswered = true
            process.whenRunning { answer(what) }
        }
        let host = process.host.index
        world.after(Self.deadline) { tell(.unavailable("no answer within \(Self.deadline)")) }
        world.after(latency()) { [self] in
            guard isReached(from: host) else { return }
            if isUnreliable, world.chance(4) { return world.coverage.fault(.requestToArbiterLost) }
            let result = decide(request)
            world.note { "the arbiter: \(request.from) to \(request.wanted): \(result)" }
            if isUnreliable, world.chance(3) { return world.coverage.fault(.answerOfArbiterLost) }
            world.after(latency()) { [self] in if isReached(from: host) { tell(result) } }
        }
    }

    /// By somebody's word: whatever the record says, the next one is the asker's.
    /// - Parameter answer: what the record is now; nil if that is not known.
    func overrule(
        with wanted: @escaping (GrantRecord?) -> GrantRecord,
        by process: Process,
        _ answer: @escaping (GrantRecord?) -> Void
    ) {
        let host = process.host.index
        world.after(latency()) { [self] in
            if isReached(from: host) { swap(for: wanted(record)) }
            let now = isReached(from: host) ? record : nil
            process.whenRunning { answer(now) }
        }
    }

    private func latency() -> TimeSpan {
        .milliseconds(isUnreliable && world.chance(3) ? world.random(100...4000) : world.random(1...20))
    }

    private func isReached(from host: Int) -> Bool {
        downUntil <= world.now && cutUntil[host] <= world.now && world.hosts[host].isUp
    }

    private func swap(for wanted: GrantRecord) {
        record = wanted
        swappedAt = world.now
    }

    private func decide(_ request: GrantRequest) -> GrantAnswer {
        switch request.judge(record) {
        case .swap:
            swap(for: request.wanted)
            return .granted(request.wanted)
        case .answer(.denied) where world.misdeed == .leasedGrant && world.now - swappedAt > .seconds(3):
            swap(for: request.wanted)
            return .granted(request.wanted)
        case .answer(let answer): return answer
        }
    }

    /// What would come of a request that reached it now.
    func wouldGrant(_ request: GrantRequest) -> Bool {
        switch request.judge(record) {
        case .swap, .answer(.granted): true
        case .answer: false
        }
    }
}
