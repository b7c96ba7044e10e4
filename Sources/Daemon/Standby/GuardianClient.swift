import Glibc
import Logging
import Synchronization
import SystemSupport

/// The daemon's link to its guardian. Starts one where none runs; one that died is replaced and given everything again.
final class GuardianClient: Sendable {
    private struct State {
        var socket: Descriptor
        var pid: Int32
        /// What the guardian is to hold.
        var held: [String: [Descriptor]] = [:]
    }

    private let path: String
    private let program: String
    private let log = Logger(label: "standby")
    private let state: Mutex<State>

    /// Connects to the guardian at `path`, or starts one: `program`, which is this one but for tests.
    init(path: String, program: String = ChildProcess.ownPath) throws(SystemError) {
        self.path = path
        self.program = program
        let (socket, pid) = try Self.connect(path, program)
        state = Mutex(State(socket: socket, pid: pid))
    }

    /// The guardian's process number.
    var pid: Int32 { state.withLock { $0.pid } }

    /// Readable once the guardian is gone: it says nothing unasked.
    var socket: Descriptor { state.withLock { $0.socket } }

    /// Replaces a guardian that is gone, and gives the new one everything.
    func replaceIfGone() {
        state.withLock { state in
            guard Poll.wait(state.socket.raw, milliseconds: 0) else { return }
            do throws(SystemError) {
                try replace(&state)
            } catch {
                log.error("no guardian holds the images: \(error)")
            }
        }
    }

    /// Has `files` held under `key`.
    func hold(_ key: String, _ files: [Descriptor]) throws(SystemError) {
        try state.withLock { state throws(SystemError) in
            let before = state.held.updateValue(files, forKey: key)
            do throws(SystemError) {
                try request(&state, .hold, key, files)
            } catch {
                // A guardian that comes later gets what its daemon goes on with.
                state.held[key] = before
                throw error
            }
        }
    }

    /// Has `key` forgotten.
    func drop(_ key: String) {
        state.withLock { state in
            state.held[key] = nil
            try? request(&state, .drop, key, [])
        }
    }

    /// Everything a guardian kept from an earlier daemon.
    func takeAll() throws(SystemError) -> [(key: String, files: [Descriptor])] {
        try state.withLock { state throws(SystemError) in
            var result: [(String, [Descriptor])] = []
            for key in try Self.keys(state.socket, milliseconds: 5000) {
                try Self.send(.take, key, [], state.socket)
                let files = try Self.receive(state.socket, 1).descriptors
                state.held[key] = files
                result.append((key, files))
            }
            return result
        }
    }

    /// Asks a guardian which guests' images it holds.
    static func keys(_ socket: Descriptor, milliseconds: Int32) throws(SystemError) -> [String] {
        try send(.list, "", [], socket)
        var names: [UInt8] = []
        while names.last != 0 { names += try receive(socket, 4096, milliseconds: milliseconds).bytes }
        var result: [String] = []
        var index = 0
        while names[index] != 0 {
            let end = index + 1 + Int(names[index])
            guard end < names.count else { throw SystemError("understand the guardian", code: EPROTO) }
            result.append(String(decoding: names[(index + 1)..<end], as: UTF8.self))
            index = end
        }
        return result
    }

    private func request(
        _ state: inout State,
        _ operation: GuardianOperation,
        _ key: String,
        _ files: [Descriptor]
    ) throws(SystemError) {
        do throws(SystemError) {
            try Self.send(operation, key, files, state.socket)
            _ = try Self.receive(state.socket, 1)
        } catch {
            try replace(&state)
        }
    }

    private func replace(_ state: inout State) throws(SystemError) {
        log.warning("the guardian is gone; starting another", metadata: ["pid": "\(state.pid)"])
        (state.socket, state.pid) = try Self.connect(path, program)
        for (key, files) in state.held {
            try Self.send(.hold, key, files, state.socket)
            _ = try Self.receive(state.socket, 1)
        }
    }

    private static func send(
        _ operation: GuardianOperation,
        _ key: String,
        _ files: [Descriptor],
        _ socket: Descriptor
    ) throws(SystemError) {
        let bytes = [operation.rawValue, UInt8(key.utf8.count)] + Array(key.utf8)
        try UnixSocket.send(bytes, descriptors: files, over: socket)
    }

    private static func receive(
        _ socket: Descriptor,
        _ capacity: Int,
        milliseconds: Int32 = 5000
    ) throws(SystemError) -> (bytes: [UInt8], descriptors: [Descriptor]) {
        guard Poll.wait(socket.raw, milliseconds: milliseconds),
            let answer = try UnixSocket.receive(from: socket, capacity: capacity)
        else { throw SystemError("hear from the guardian", code: ETIMEDOUT) }
        guard !answer.bytes.isEmpty else { throw SystemError("hear from the guardian", code: ECONNRESET) }
        return answer
    }

    private static func connect(_ path: String, _ program: String) throws(SystemError) -> (Descriptor, Int32)
    {
        if let found = try reach(path) { return found }
        // Its own log: whoever reads the daemon's output must not wait for the guardian to end.
        let pid = try ChildProcess.spawnDetached(
            program,
            ["guardian", "--socket", path],
            errors: try? SmallFile.openLog(path + ".log")
        )
        ChildProcess.reapWhenEnded(pid)
        for _ in 0..<500 {
            if let found = try reach(path) { return found }
            usleep(10_000)
        }
        throw SystemError("start a guardian at \(path)", code: ETIMEDOUT)
    }

    /// Nil where no guardian runs. One that gives no answer is there all the same, and may hold images.
    private static func reach(_ path: String) throws(SystemError) -> (Descriptor, Int32)? {
        guard let socket = try? UnixSocket.connect(to: path) else { return nil }
        do throws(SystemError) {
            return (socket, try identify(socket))
        } catch {
            // The kernel still completes connections to a process that is dying.
            guard error.code == ECONNRESET || error.code == EPIPE else { throw error }
            return nil
        }
    }

    private static func identify(_ socket: Descriptor) throws(SystemError) -> Int32 {
        try send(.identify, "", [], socket)
        let bytes = try receive(socket, 4).bytes
        guard bytes.count == 4 else { throw SystemError("understand the guardian", code: EPROTO) }
        return Int32(bitPattern: bytes.enumerated().reduce(0) { $0 | UInt32($1.element) << (8 * $1.offset) })
    }
}
