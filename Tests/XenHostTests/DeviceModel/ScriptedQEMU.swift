import FoundationEssentials
import Glibc
import SystemSupport

/// A QEMU's monitor on a real unix socket, as a client of `DeviceModel`'s kind sees it, with faults to order. It keeps what a
/// QEMU keeps between connections: whether its devices run, and whether it logs writes.
final class ScriptedQEMU: Sendable {
    enum Fault: Equatable, Sendable {
        /// The command is refused, and not carried out.
        case refuse
        /// The connection is closed instead.
        case close
        /// It is closed instead of an answer, and the command carried out.
        case closeAfter
        /// Nothing is answered or carried out before `wake`.
        case hang
        case garbage
        /// A line without an end.
        case endless
        /// The answer is to another command.
        case wrongID
    }

    struct State {
        var isRunning = true
        var logsWrites = false
        /// Its log was switched off while it was off: a real one ends then.
        var isSwitchedTwice = false
        /// What it was told, and what others noted, in order.
        var journal: [String] = []
        /// By the command's name; `greeting` is none, and has them too.
        var faults: [String: Fault] = [:]
        /// Events before and after each answer.
        var isChatty = false
        var saved: [UInt8] = Array("QEVM".utf8) + [0, 0, 0, 3, 1, 2, 3]
        var version = (7, 2)
        var isStopping = false
        fileprivate var connection: Descriptor?
        fileprivate var nextSet = 0
        fileprivate var sets: [Int: Descriptor] = [:]
        var heldSets: Int { sets.count }
    }

    private struct Command: Decodable {
        struct Arguments: Decodable {
            var set: Int?
            var filename: String?
            var enable: Bool?
            var live: Bool?
            enum CodingKeys: String, CodingKey {
                case set = "fdset-id"
                case filename, enable, live
            }
        }
        let execute: String
        let id: Int
        var arguments: Arguments?
    }

    let folder: String
    private let path: String
    private let state = Monitor(State())
    private let thread: WorkerThread

    init(domain: UInt32 = 7) throws {
        // Whoever is talked to may have ended; remusd ignores the signal too.
        Signals.ignore([SIGPIPE])
        var template = Array("/tmp/remusd.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError("make a temporary directory") }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        path = "\(folder)/qmp-libxenstat-\(domain)"
        let listener = try UnixSocket.listen(at: path)
        let state = state
        thread = try WorkerThread("qemu") {
            while let connection = try? UnixSocket.accept(listener) {
                let isOver = state.withLock { state in
                    state.connection = connection
                    return state.isStopping
                }
                if isOver { return }
                var session = Session(state: state, socket: connection)
                session.serve()
                state.withLock { $0.connection = nil }
            }
        }
    }

    deinit {
        end()
        rmdir(folder)
    }

    /// It is killed.
    func end() {
        let isFirst = state.signal { state in
            defer { state.isStopping = true }
            state.connection?.shutDown()
            return !state.isStopping
        }
        guard isFirst else { return }
        _ = try? UnixSocket.connect(to: path)
        thread.join()
        unlink(path)
    }

    func change(_ body: (inout State) -> Void) { state.signal { body(&$0) } }
    func read<R>(_ body: (State) -> R) -> R { state.withLock { body($0) } }
    var journal: [String] { read(\.journal) }
    func note(_ text: String) { change { $0.journal.append(text) } }
    /// A fault is over; what waits is carried out.
    func wake() { change { $0.faults = [:] } }
    /// Waits until the journal ends with `last`.
    func waits(for last: String) -> Bool {
        state.wait(until: Clock.monotonic + 10_000_000_000) { $0.journal.last == last ? true : nil } ?? false
    }

    /// Waits until it holds no descriptor of ours any more.
    func holdsNothing() -> Bool {
        state.wait(until: Clock.monotonic + 10_000_000_000) { $0.heldSets == 0 ? true : nil } ?? false
    }

    private struct Session {
        let state: Monitor<State>
        let socket: Descriptor
        var line: [UInt8] = []

        init(state: Monitor<State>, socket: Descriptor) { (self.state, self.socket) = (state, socket) }

        mutating func serve() {
            let version = state.withLock { $0.version }
            let greeting =
                #"{"QMP":{"version":{"qemu":{"micro":0,"minor":\#(version.1),"major":\#(version.0)},"package":"x"},"capabilities":["oob"]}}"#
            guard answer("greeting", 0, greeting) else { return }
            while let (bytes, descriptors) = try? UnixSocket.receive(from: socket, capacity: 4096),
                !bytes.isEmpty
            {
                for byte in bytes {
                    guard byte == 0x0A else {
                        line.append(byte)
                        continue
                    }
                    defer { line = [] }
                    guard let command = try? JSONDecoder().decode(Command.self, from: Data(line)) else {
                        return
                    }
                    guard take(command, descriptors.first) else { return }
                }
            }
        }

        private func take(_ command: Command, _ descriptor: Descriptor?) -> Bool {
            let fault = fault(command.execute)
            state.signal { $0.journal.append(Self.text(command)) }
            guard fault != .close else { return false }
            if fault == .refuse {
                return send(#"{"id":\#(command.id),"error":{"class":"GenericError","desc":"not now"}}"#)
            }
            let result = state.withLock { Self.carryOut(command, descriptor, &$0) }
            return answer(command.execute, command.id, #"{"return":\#(result),"id":\#(command.id)}"#)
        }

        private static func text(_ command: Command) -> String {
            let arguments = command.arguments
            let details = [arguments?.enable.map { $0 ? "on" : "off" }, arguments?.live.map { "live=\($0)" }]
            return ([command.execute] + details.compactMap(\.self)).joined(separator: " ")
        }

        private static func carryOut(_ command: Command, _ descriptor: Descriptor?, _ state: inout State)
            -> String
        {
            switch command.execute {
            case "stop": state.isRunning = false
            case "cont": state.isRunning = true
            case "query-status":
                return
                    #"{"status":"\#(state.isRunning ? "running" : "paused")","running":\#(state.isRunning)}"#
            case "add-fd":
                defer { state.nextSet += 1 }
                state.sets[state.nextSet] = descriptor
                return #"{"fd":11,"fdset-id":\#(state.nextSet)}"#
            case "remove-fd": state.sets[command.arguments?.set ?? -1] = nil
            case "xen-save-devices-state":
                let name = command.arguments?.filename ?? ""
                guard let set = Int(name.dropFirst("/dev/fdset/".count)), let file = state.sets[set] else {
                    break
                }
                _ = write(file.raw, state.saved, state.saved.count)
            case "xen-set-global-dirty-log":
                let on = command.arguments?.enable ?? false
                state.isSwitchedTwice = state.isSwitchedTwice || !on && !state.logsWrites
                state.logsWrites = on
            default: break
            }
            return "{}"
        }

        /// The fault of a step, once a hang is over.
        private func fault(_ name: String) -> Fault? {
            state.wait { state in
                let fault: Fault? = state.isStopping ? .close : state.faults[name]
                return fault == .hang ? nil : Optional.some(fault)
            } ?? nil
        }

        private func answer(_ name: String, _ id: Int, _ text: String) -> Bool {
            if state.withLock({ $0.isChatty }), name != "greeting" { _ = send(Self.event("RTC_CHANGE")) }
            switch fault(name) {
            case .close, .closeAfter: return false
            case .garbage: return send("{\"return\": ")
            case .endless: return send(String(repeating: "x", count: 80 << 10))
            case .wrongID: return send(text.replacing("\"id\":\(id)", with: "\"id\":\(id + 1)"))
            case .refuse, .hang, nil: break
            }
            guard send(text) else { return false }
            return state.withLock { $0.isChatty } ? send(Self.event("VNC_CONNECTED")) : true
        }

        private static func event(_ name: String) -> String {
            #"{"timestamp":{"seconds":1,"microseconds":2},"event":"\#(name)","data":{"offset":78}}"#
        }

        private func send(_ text: String) -> Bool {
            (try? UnixSocket.send(Array((text + "\r\n").utf8), over: socket)) != nil
        }
    }
}
