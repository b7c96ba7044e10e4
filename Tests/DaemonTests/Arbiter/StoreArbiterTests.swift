import Checkpoint
import Synchronization
import Testing

@testable import Daemon

/// Read, judge, swap, over a store whose answers get lost.
@Suite struct StoreArbiterTests {
    /// What happens to the next swaps.
    enum Fate {
        case fine
        /// Done, and the answer is lost.
        case doneUnheard
        /// Not done, and the answer is lost.
        case lost
        /// Somebody else was faster.
        case beaten(by: GrantRecord)
    }

    final class FakeStore: RecordStore {
        struct State {
            var record: GrantRecord?
            var version = 0
            var fates: [Fate] = []
            var readFailures = 0
            var swaps = 0
            var settled = 0
        }

        let state: Mutex<State>
        let name = "fake"

        init(_ record: GrantRecord? = nil, fates: [Fate] = [], readFailures: Int = 0) {
            state = Mutex(State(record: record, fates: fates, readFailures: readFailures))
        }

        func read(_ guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) -> StoredRecord<Int> {
            try state.withLock { state throws(ArbiterError) in
                if state.readFailures > 0 {
                    state.readFailures -= 1
                    throw ArbiterError("deaf")
                }
                return StoredRecord(record: state.record, version: state.version)
            }
        }

        func swap(
            _ guest: GuestUUID,
            from expected: StoredRecord<Int>,
            to record: GrantRecord,
            until deadline: UInt64
        ) throws(ArbiterError) -> Bool {
            try state.withLock { state throws(ArbiterError) in
                state.swaps += 1
                let fate = state.fates.isEmpty ? Fate.fine : state.fates.removeFirst()
                if case .beaten(let other) = fate {
                    (state.record, state.version) = (other, state.version + 1)
                }
                if case .lost = fate { throw ArbiterError("cut off") }
                guard expected.version == state.version else { return false }
                (state.record, state.version) = (record, state.version + 1)
                if case .doneUnheard = fate { throw ArbiterError("cut off") }
                return true
            }
        }

        func settle(_ guest: GuestUUID, on record: GrantRecord, until deadline: UInt64) {
            state.withLock { $0.settled += 1 }
        }
        func identity(until deadline: UInt64) -> String { "fake" }
        func removeProbe(_ guest: GuestUUID, until deadline: UInt64) {}
    }

    let old = GrantRecord(generation: 4, owner: "alpha", id: 9)
    let request = ArbiterRace.request(GuestUUID(high: 1, low: 2), from: 4, id: 1, usedBefore: true)

    private func ask(_ store: FakeStore, deadline: TimeSpan = .seconds(20)) -> GrantAnswer {
        DeadlineArbiter(StoreArbiter(store)).ask(request, deadline: deadline)
    }

    @Test func swapsAndSaysSo() {
        let store = FakeStore(old)
        #expect(ask(store) == .granted(request.wanted))
        #expect(ask(store) == .granted(request.wanted))
        #expect(store.state.withLock { $0.swaps } == 1)
        #expect(store.state.withLock { $0.settled } == 1, "what was there already is made to stay")
    }

    @Test func findsItsOwnIdWhereTheAnswerWasLost() {
        let store = FakeStore(old, fates: [.doneUnheard])
        #expect(ask(store) == .granted(request.wanted))
        #expect(store.state.withLock { $0.swaps } == 1)
    }

    @Test func asksAgainWhereTheRequestWasLost() {
        let store = FakeStore(old, fates: [.lost, .lost])
        #expect(ask(store) == .granted(request.wanted))
        #expect(store.state.withLock { $0.swaps } == 3)
    }

    @Test func isDeniedByWhoWasFaster() {
        let other = GrantRecord(generation: 5, owner: "beta", id: 2)
        #expect(ask(FakeStore(old, fates: [.beaten(by: other)])) == .denied(by: other))
        #expect(ask(FakeStore(old, fates: [.lost, .beaten(by: other)])) == .denied(by: other))
    }

    /// An operator put the same generation back: the swap goes on from there.
    @Test func swapsWhatIsThereByThen() {
        let same = GrantRecord(generation: 4, owner: "beta", id: 3)
        #expect(ask(FakeStore(old, fates: [.beaten(by: same)])) == .granted(request.wanted))
    }

    @Test func doesNotGoOnWhereItCannotRead() {
        let store = FakeStore(old, readFailures: 1)
        guard case .unavailable(let reason) = ask(store) else {
            Issue.record("granted without a look")
            return
        }
        #expect(reason == "fake: deaf")
        #expect(store.state.withLock { $0.swaps } == 0)
    }

    @Test func saysThatItMayHaveBeenGranted() {
        let store = FakeStore(old, fates: [Fate](repeating: .lost, count: 10_000))
        guard case .unavailable(let reason) = ask(store, deadline: .milliseconds(300)) else {
            Issue.record("an answer out of nothing")
            return
        }
        #expect(reason.contains("cut off; it may have been granted all the same: ask again"))
    }

    @Test func memoryLostIsNotAbsent() {
        #expect(ask(FakeStore()) == .memoryLost(found: nil))
        let older = GrantRecord(generation: 3, owner: "alpha", id: 9)
        #expect(ask(FakeStore(older)) == .memoryLost(found: older))
    }
}
