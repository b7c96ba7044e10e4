import Checkpoint
import Synchronization

/// An arbiter that answers as it is told, and by the book when it is told nothing.
final class StubArbiter: Arbiter {
    struct State {
        var record: GrantRecord?
        /// Instead of a judgement, in order.
        var answers: [GrantAnswer] = []
        var asked: [GrantRequest] = []
    }

    let name: String
    let decides: Bool
    let state: Mutex<State>

    init(
        _ record: GrantRecord? = nil,
        answers: [GrantAnswer] = [],
        name: String = "stub",
        decides: Bool = true
    ) {
        self.name = name
        self.decides = decides
        state = Mutex(State(record: record, answers: answers))
    }

    var asked: [GrantRequest] { state.withLock { $0.asked } }

    func ask(_ request: GrantRequest, deadline: TimeSpan) -> GrantAnswer {
        state.withLock { state in
            state.asked.append(request)
            if !state.answers.isEmpty { return state.answers.removeFirst() }
            switch request.judge(state.record) {
            case .swap:
                state.record = request.wanted
                return .granted(request.wanted)
            case .answer(let answer): return answer
            }
        }
    }

    func record(of guest: GuestUUID, deadline: TimeSpan) throws(ArbiterError) -> GrantRecord? {
        state.withLock { $0.record }
    }
}
