import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import XenStream

/// The guest's clients: each writes on a connection and a thread of its own, and connects again wherever it is thrown
/// out, as clients do.
final class DemoTraffic: Sendable {
    private enum Order: Int {
        case write, finish, abort
    }

    private let address: SocketAddress
    private let pipeline: Int
    private let order = Atomic(Order.write.rawValue)
    private let total = Atomic(0)
    private let marked = Atomic<UInt64>(0)
    private let firstAfterMark = Atomic<UInt64>(0)
    private let ledgers: Monitor<[DemoLedger]>
    private let running: Monitor<Int>

    /// Starts writing to the guest at `address`.
    init(to address: SocketAddress, _ options: DemoOptions, seed: UInt64) throws(SystemError) {
        self.address = address
        pipeline = options.pipeline
        ledgers = Monitor([])
        running = Monitor(options.connections)
        let keyLimit = Int(options.memory.bytes) / 512 / options.connections
        for connection in 0..<options.connections {
            let thread = try WorkerThread("client-\(connection)") { [self] in
                let ledger = write(DemoLedger(connection: connection, seed: seed, keyLimit: keyLimit))
                ledgers.withLock { $0.append(ledger) }
                running.signal { $0 -= 1 }
            }
            thread.detach()
        }
    }

    /// Answers so far.
    var answers: Int { total.load(ordering: .relaxed) }

    /// From here on the first answer on a new connection is waited for.
    func mark() { marked.store(Clock.monotonic, ordering: .sequentiallyConsistent) }

    /// From the mark to that answer; nil before it came.
    var timeToFirstAnswer: TimeSpan? {
        let (from, to) = (
            marked.load(ordering: .sequentiallyConsistent), firstAfterMark.load(ordering: .relaxed)
        )
        return to > from ? TimeSpan(nanoseconds: to - from) : nil
    }

    /// Sends nothing more, waits for the answers that are due, and gives what was sent and told.
    func finish() -> [DemoLedger] { end(.finish, seconds: 20) }

    /// Ends at once.
    func abort() { _ = end(.abort, seconds: 5) }

    private func end(_ last: Order, seconds: UInt64) -> [DemoLedger] {
        order.store(last.rawValue, ordering: .relaxed)
        let deadline = Clock.monotonic + seconds * 1_000_000_000
        _ = running.wait(until: deadline) { $0 == 0 ? true : nil }
        order.store(Order.abort.rawValue, ordering: .relaxed)
        _ = running.wait(until: Clock.monotonic + 5_000_000_000) { $0 == 0 ? true : nil }
        return ledgers.withLock { $0.sorted { $0.connection < $1.connection } }
    }

    // MARK: One client

    private func write(_ start: DemoLedger) -> DemoLedger {
        var ledger = start
        var random = SplitMix(state: start.seed &+ UInt64(start.connection) &* 7919)
        // Microseconds between two tries. They grow: on a slow host clients that hammer at a closed port would take the time
        // that the activation needs.
        var pause: UInt32 = 2000
        while current == .write {
            guard let connection = DemoConnection(to: address) else {
                usleep(pause)
                pause = min(pause * 3 / 2, 30_000)
                continue
            }
            pause = 2000
            do {
                try converse(connection, since: Clock.monotonic, &ledger, &random)
            } catch {
                ledger.note("\(error)")
            }
        }
        return ledger
    }

    private var current: Order { Order(rawValue: order.load(ordering: .relaxed)) ?? .abort }

    private func converse(
        _ connection: DemoConnection,
        since connected: UInt64,
        _ ledger: inout DemoLedger,
        _ random: inout SplitMix
    ) throws(RESPError) {
        var due: [DemoLedger.Request] = []
        while true {
            let order = current
            if order == .abort || order == .finish && due.isEmpty { return }
            if order == .write, connection.isDrained {
                while due.count < pipeline {
                    let request = ledger.next(&random)
                    connection.add(ledger.parts(request))
                    due.append(request)
                }
            }
            var told: [RESPReply] = []
            let isOpen = try connection.exchange(milliseconds: 20) { told.append($0) }
            if !told.isEmpty { noteAnswers(told.count, connected) }
            for (request, reply) in zip(due, told) { ledger.answered(request, reply) }
            if told.count > due.count { ledger.note("\(told.count - due.count) answers to nothing") }
            due.removeFirst(min(told.count, due.count))
            if !isOpen { return }
            // Output that nobody holds comes back at once: without this, a demo would show little but that.
            if !told.isEmpty { usleep(5000) }
        }
    }

    private func noteAnswers(_ count: Int, _ connected: UInt64) {
        total.add(count, ordering: .relaxed)
        let mark = marked.load(ordering: .sequentiallyConsistent)
        guard mark > 0, connected > mark else { return }
        _ = firstAfterMark.compareExchange(expected: 0, desired: Clock.monotonic, ordering: .relaxed)
    }
}
