import CMachine
import Glibc

/// A process of its own for one end: on one processor, with one library.
struct EndProcess {
    static let command = "end"
    /// Its descriptors.
    private static let socket: Int32 = 3
    private static let control: Int32 = 4

    let process: pid_t

    /// Starts one.
    init(
        _ library: Library,
        _ terms: Terms,
        _ end: End,
        processor: Int32,
        socket: Int32,
        control: Int32
    ) {
        let arguments = [
            "tls-libraries", Self.command, library.rawValue, "\(terms.suite.rawValue)", "\(terms.writeSize)",
            end.rawValue, "\(processor)",
        ]
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        pointers.append(nil)
        defer { for case let pointer? in pointers { free(pointer) } }
        process = machine_start(pointers, library.environment(for: terms.suite), socket, control)
    }

    /// What it does: shakes hands and says what was agreed on. Then the receiving end answers, and the sending one moves
    /// as many units as each order says, and repeats the order when that is done.
    static func run(_ arguments: [String]) throws {
        guard arguments.count == 5, let library = Library(rawValue: arguments[0]),
            let suite = UInt16(arguments[1]).flatMap(CipherSuite.init(rawValue:)),
            let writeSize = Int(arguments[2]),
            let end = End(rawValue: arguments[3]), let processor = Int32(arguments[4])
        else { throw Failure("'\(command)' is for the program itself") }
        machine_pin(processor)
        signal(SIGPIPE, SIG_IGN)
        let orders = Control(descriptor: Self.control)
        let connection = try library.type.init(
            socket: Self.socket,
            end: end,
            terms: Terms(suite: suite, writeSize: writeSize)
        )
        try orders.say(UInt64(connection.suite.rawValue))
        switch end {
        case .receiving: try connection.answer()
        case .sending:
            while let order = try orders.hear() {
                try connection.move(units: Int(order))
                try orders.say(order)
            }
        }
    }
}

/// Numbers between this program and its processes.
struct Control {
    let descriptor: Int32

    func say(_ number: UInt64) throws {
        var number = number
        guard send(descriptor, &number, 8, Int32(MSG_NOSIGNAL)) == 8 else {
            throw Failure("the other process is gone")
        }
    }

    /// Nil if the other process is gone.
    func hear() throws -> UInt64? {
        var number: UInt64 = 0
        switch recv(descriptor, &number, 8, Int32(MSG_WAITALL)) {
        case 8: return number
        case 0: return nil
        default: throw Failure("no word from the other process: \(String(cString: strerror(errno)))")
        }
    }
}
