import Glibc
import Synchronization
import SystemSupport
import XenStream

/// What a guest's only processor does all the time: one operation after the other, each of which writes eight words to the next of
/// some pages, over and over.
///
/// Unchecked: what never changes, what is atomic, and what is behind the monitor.
final class GuestLoop: @unchecked Sendable {
    private struct State {
        /// What is wanted of it: to stand still, to do nothing, to end.
        var shallStand = false, shallRest = false, isOver = false
        /// Does nothing, and will not until it is let.
        var isIdle = false
        /// It was told that it stands still.
        var isAnswered = false
        var trouble: String?
    }

    /// Readable when it stands still.
    let stands: EventFD
    /// Since it began.
    private let done = Atomic<UInt64>(0)
    /// Something is wanted of it.
    private let isAsked = Atomic<Bool>(false)
    private let monitor = Monitor(State())
    private let memory: Mapping
    private let pages: [Int]
    private let seed: UInt64

    /// - Parameter pages: numbers of the pages of `memory` that it writes, in the order in which it does.
    init(in memory: Mapping, writing pages: [Int], seed: UInt64) throws {
        precondition(!pages.isEmpty, "it has something to do")
        self.memory = memory
        self.pages = pages
        self.seed = seed
        stands = try EventFD()
    }

    /// Operations so far. Any thread.
    var operations: UInt64 { done.load(ordering: .relaxed) }

    // MARK: Whoever has it stand still

    /// Asks it to stand still, and does not wait.
    func stand() {
        monitor.signal { state in
            state.shallStand = true
            // Let go a moment ago, it may not have begun again.
            state.isAnswered = state.isIdle
            if state.isIdle { stands.signal() }
            isAsked.store(true, ordering: .relaxed)
        }
    }

    var isStanding: Bool { monitor.withLock { $0.shallStand && $0.isIdle } }

    /// Takes `stand` back.
    func goOn() { monitor.signal { $0.shallStand = false } }

    // MARK: The measuring thread

    /// Has it do nothing from now on; it stands still, and goes on, as ever. Returns once that is so.
    func rest() throws {
        monitor.signal {
            $0.shallRest = true
            isAsked.store(true, ordering: .relaxed)
        }
        for _ in 0..<10_000 {
            let (isIdle, trouble) = monitor.withLock { ($0.isIdle, $0.trouble) }
            if let trouble { throw BenchError(trouble) }
            if isIdle { return }
            usleep(1000)
        }
        throw BenchError("the guest does not rest")
    }

    /// Ends `run`.
    func end() {
        monitor.signal {
            $0.isOver = true
            isAsked.store(true, ordering: .relaxed)
        }
    }

    // MARK: Its own thread

    /// - Parameter processor: nil: any.
    func run(on processor: Int?) {
        do throws(SystemError) {
            if let processor { try ProcessorPin.pin(to: processor) }
        } catch {
            return monitor.signal { ($0.trouble, $0.isIdle) = ("\(error)", true) }
        }
        var random = SplitMix(state: seed)
        var count: UInt64 = 0
        var next = 0
        while true {
            while !isAsked.load(ordering: .relaxed) {
                operate(on: pages[next], &random)
                next = next + 1 == pages.count ? 0 : next + 1
                count += 1
                done.store(count, ordering: .relaxed)
            }
            guard attend() else { return }
        }
    }

    private func operate(on pfn: Int, _ random: inout SplitMix) {
        let page = memory.base.assumingMemoryBound(to: UInt64.self) + pfn * PageWriter.wordsPerPage
        for _ in 0..<PageWriter.words {
            let word = Int(random.next() % UInt64(PageWriter.wordsPerPage))
            page[word] = random.next()
        }
    }

    /// Does what is wanted. False: it is over.
    private func attend() -> Bool {
        monitor.wait { state -> Bool? in
            if state.isOver { return false }
            guard state.shallStand || state.shallRest else {
                state.isIdle = false
                isAsked.store(false, ordering: .relaxed)
                return true
            }
            state.isIdle = true
            if state.shallStand, !state.isAnswered {
                state.isAnswered = true
                stands.signal()
            }
            return nil
        } ?? false
    }
}
