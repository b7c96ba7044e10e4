import CMachine
import Glibc

/// A sender and a receiver with one library and one cipher suite, each a process on a processor of its own.
final class Lane {
    let library: Library
    let terms: Terms
    private let sender: EndProcess
    private let receiver: EndProcess
    private let orders: Control
    private let reports: Control
    /// Units that a turn moves.
    private var units = 1
    private(set) var turns: [Turn] = []

    init(_ library: Library, _ terms: Terms, processors: (sender: Int32, receiver: Int32)) {
        self.library = library
        self.terms = terms
        let socket = Self.pair(machine_connect)
        let order = Self.pair(machine_control)
        let report = Self.pair(machine_control)
        orders = Control(descriptor: order.ours)
        reports = Control(descriptor: report.ours)
        sender = EndProcess(
            library,
            terms,
            .sending,
            processor: processors.sender,
            socket: socket.ours,
            control: order.theirs
        )
        receiver = EndProcess(
            library,
            terms,
            .receiving,
            processor: processors.receiver,
            socket: socket.theirs,
            control: report.theirs
        )
        // Only they have these from here on, so that the end of one is seen by the other.
        for descriptor in [socket.ours, socket.theirs, order.theirs, report.theirs] { close(descriptor) }
    }

    deinit {
        close(orders.descriptor)
        close(reports.descriptor)
        for process in [sender.process, receiver.process] {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
    }

    private static func pair(_ make: (UnsafeMutablePointer<Int32>) -> Void) -> (ours: Int32, theirs: Int32) {
        var ends: [Int32] = [-1, -1]
        make(&ends)
        return (ends[0], ends[1])
    }

    /// What both ends agreed on; nil for another suite than the asked one, or none at all.
    func isAgreed() throws -> Bool {
        let asked = UInt64(terms.suite.rawValue)
        return try orders.hear() == asked && reports.hear() == asked
    }

    /// Finds out how many units take about as long as a turn is to last.
    func prepare(seconds: Double) throws {
        _ = try move(2)
        let trial = try move(4)
        units = max(1, Int((4 * seconds / trial.seconds).rounded()))
    }

    func takeTurn() throws { turns.append(try move(units)) }

    private func move(_ units: Int) throws -> Turn {
        let spent = (machine_spent(sender.process), machine_spent(receiver.process))
        let began = machine_now()
        try orders.say(UInt64(units))
        guard try orders.hear() == UInt64(units) else {
            throw Failure("\(library.rawValue), \(terms.suite.name): the sender is gone")
        }
        return Turn(
            bytes: units * Terms.unit,
            seconds: Double(machine_now() - began) / 1e9,
            sender: Double(machine_spent(sender.process) - spent.0) / 1e9,
            receiver: Double(machine_spent(receiver.process) - spent.1) / 1e9
        )
    }
}

/// One turn of a lane; times in seconds.
struct Turn {
    let bytes: Int
    let seconds: Double
    /// On the processor, as the next.
    let sender: Double
    let receiver: Double

    /// Megabytes (10^6) a second.
    var rate: Double { Double(bytes) / 1e6 / seconds }

    /// Seconds on a processor for each gigabyte (10^9).
    func cost(_ side: KeyPath<Turn, Double>) -> Double { self[keyPath: side] / (Double(bytes) / 1e9) }
}
