import Synchronization
import SystemSupport

/// The guest's one vcpu: a thread that executes requests, one command at a time, and can be suspended between two.
///
/// Unchecked: `program` and what follows it belong to the vcpu's thread; the rest is behind the monitor or atomic.
final class VirtualCPU: @unchecked Sendable {
    private struct State {
        var runnable: [ClientConnection] = []
        var next = 0
        /// The number of the suspend request that stands, nil if the guest shall run.
        var suspend: UInt32?
        var isParked = false
        var isHalted = false
        var isStopped = false
    }

    private let monitor = Monitor(State())
    /// Something in `State` wants the vcpu to look up from its work.
    private let interrupt = Atomic<Bool>(false)
    private let plug: Plug
    private let parked: @Sendable (UInt32, GuestRegisters) -> Void

    private var program: GuestProgram
    private var registers: GuestRegisters
    private var runningSince = Clock.monotonic
    private let reply = ByteQueue()

    /// For status: as of the last batch.
    let keys = Atomic<UInt64>(0)
    /// For status: as of the last batch.
    let commands = Atomic<UInt64>(0)

    private static let batchReply = 256 << 10

    /// - Parameter parked: called on the vcpu's thread each time it has suspended for a request, with that request's
    ///   number and the registers; all answers are in the plug by then.
    init(
        table: GuestTable,
        registers: GuestRegisters,
        plug: Plug,
        parked: @escaping @Sendable (UInt32, GuestRegisters) -> Void
    ) {
        program = GuestProgram(table: table, commands: registers.commands)
        self.registers = registers
        self.plug = plug
        self.parked = parked
        publish()
    }

    /// Brings a connection with requests; it is the vcpu's until `Plug.transmit` returns it.
    func enqueue(_ connection: ClientConnection) { monitor.signal { $0.runnable.append(connection) } }

    /// Asks the vcpu to suspend; `parked` tells when it has.
    func suspend(request: UInt32) {
        monitor.signal {
            $0.suspend = request
            interrupt.store(true, ordering: .relaxed)
        }
    }

    /// Takes back a suspend request, or lets a suspended guest run on.
    func resume() { monitor.signal { $0.suspend = nil } }

    /// No command is executed any more, for good; suspending still works.
    func halt() {
        monitor.signal {
            $0.isHalted = true
            interrupt.store(true, ordering: .relaxed)
        }
    }

    /// Ends `run`.
    func stop() {
        monitor.signal {
            $0.isStopped = true
            interrupt.store(true, ordering: .relaxed)
        }
    }

    /// Whether the guest is suspended now.
    var isParked: Bool { monitor.withLock { $0.isParked } }

    private enum Work {
        case execute(ClientConnection)
        case park(UInt32)
        case stop
    }

    /// The vcpu's thread.
    func run() {
        while true {
            let work = monitor.wait { state -> Work? in
                if state.isStopped { return .stop }
                if let request = state.suspend {
                    state.isParked = true
                    return .park(request)
                }
                interrupt.store(state.isHalted, ordering: .relaxed)
                if state.isHalted || state.next == state.runnable.count { return nil }
                let connection = state.runnable[state.next]
                state.next += 1
                if state.next == state.runnable.count {
                    state.runnable.removeAll(keepingCapacity: true)
                    state.next = 0
                }
                return .execute(connection)
            }
            switch work {
            case .execute(let connection): execute(connection)
            case .park(let request): park(request)
            case .stop, nil: return
            }
        }
    }

    /// Executes what a connection has asked, up to a batch, and gives the answers to the plug.
    private func execute(_ connection: ClientConnection) {
        var hasRequests = false
        var finish = false
        while !connection.isClosed.load(ordering: .relaxed) {
            if interrupt.load(ordering: .relaxed) || reply.count >= Self.batchReply
                || plug.isFull(pending: reply.count)
            {
                hasRequests = true
                break
            }
            let bytes = connection.input.readable
            let outcome = connection.parser.parse(bytes)
            if outcome == .incomplete { break }
            switch outcome {
            case .incomplete, .nothing: break
            case .request: program.execute(bytes, connection.parser.arguments, into: reply)
            case .malformed(let why):
                reply.append("-ERR Protocol error: \(why)\r\n")
                finish = true
            }
            if finish { break }
            connection.input.consume(connection.parser.consumed)
            connection.parser.reset()
        }
        publish()
        // Interrupted or at the end of its share of time it stays here; with the plug full it waits at the NIC.
        let stays = hasRequests && !plug.isFull(pending: reply.count)
        plug.transmit(connection, reply, returning: !stays, hasRequests: hasRequests, finish: finish)
        if stays { monitor.withLock { $0.runnable.append(connection) } }
    }

    /// Stores the registers, says so, and runs nothing until resumed.
    private func park(_ first: UInt32) {
        registers.heapTop = program.table.heapTop
        registers.tableRoot = program.table.tableRoot
        registers.commands = program.commands
        registers.virtualTime += Clock.monotonic - runningSince
        registers.suspensions += 1
        var announced = first
        parked(first, registers)
        while true {
            let request = monitor.wait { state -> UInt32?? in
                if state.isStopped { return .some(nil) }
                guard let request = state.suspend else {
                    state.isParked = false
                    return .some(nil)
                }
                // Resumed and asked anew before this thread got to run: it is suspended all the same.
                return request == announced ? nil : .some(request)
            }
            guard case .some(.some(let next)) = request else { break }
            announced = next
            parked(next, registers)
        }
        runningSince = Clock.monotonic
    }

    private func publish() {
        keys.store(program.table.count, ordering: .relaxed)
        commands.store(program.commands, ordering: .relaxed)
    }
}
