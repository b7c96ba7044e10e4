import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// The controller's end of an embedded guest's control channel. One request at a time, from any thread; nothing here
/// allocates once attached.
final class GuestLink: Sendable {
    /// What came of a request.
    enum Answer {
        case reply(ControlMessage.Reply)
        /// Nothing came before the deadline.
        case late
        /// The connection has ended.
        case lost
    }

    /// How far a suspend request is.
    private enum Suspend {
        case none
        /// To be sent as soon as the withdrawal of an earlier one is acknowledged.
        case wanted
        case sent(UInt32)
        /// The registers that came with it lie in `State.registers`.
        case answered(ControlMessage.Reply)
    }

    private struct State {
        var number = UInt32.random(in: .min ... .max)
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: ControlMessage.size + ControlMessage.maximumPayload,
            alignment: 8
        )
        var count = 0
        var suspend = Suspend.none
        let registers = UnsafeMutableRawBufferPointer.allocate(byteCount: GuestRegisters.size, alignment: 8)
        /// The number of a `cancel` that was not answered: until it is, the guest may still suspend.
        var cancel: UInt32?
        var end: GuestEnd?
        var isLost = false
    }

    let description: ControlDescription
    /// Guest RAM, read-only.
    let memoryFile: Descriptor
    /// The guest's process.
    let process: ProcessHandle
    /// Readable when something may have happened to the guest.
    let events: Epoll
    private let socket: Descriptor
    private let monitor = Monitor(State())

    /// How long a guest may take over anything but suspending, in nanoseconds.
    static let answerLimit: UInt64 = 800_000_000

    deinit {
        monitor.withLock {
            $0.buffer.deallocate()
            $0.registers.deallocate()
        }
    }

    /// Becomes the controller of the guest whose control socket is at `path`.
    init(attachingTo path: String, name: String) throws(GuestError) {
        func failing<R>(_ body: () throws(SystemError) -> R) throws(GuestError) -> R {
            do { return try body() } catch { throw GuestError(guest: name, reason: "\(error)") }
        }
        let (socket, answer) = try Self.ask(.attach, path, name)
        guard let memory = answer.descriptors.first else {
            throw GuestError(guest: name, reason: "it did not hand over its memory")
        }
        let description = answer.description
        self.socket = socket
        self.description = description
        memoryFile = memory
        let size = try failing { () throws(SystemError) in try Memfd.size(of: memory) }
        guard size == Int(description.pageCount) * guestPageSize else {
            throw GuestError(guest: name, reason: "its memory file is not of the size it names")
        }
        let process = try failing { () throws(SystemError) in
            try ProcessHandle(pid: description.pid, startTime: description.startTime)
        }
        self.process = process
        events = try failing { () throws(SystemError) in
            try socket.setNonBlocking(true)
            let events = try Epoll()
            try events.add(process.descriptor, .readable, token: 0)
            try events.add(socket, .readable, token: 1)
            return events
        }
    }

    /// Whether a live guest answers at `path`.
    static func isAnswered(_ path: String) -> Bool { described(path) != nil }

    /// What the guest that answers at `path` says of itself.
    static func described(_ path: String) -> ControlDescription? {
        (try? ask(.describe, path, ""))?.1.description
    }

    /// Connects and asks for the description.
    private static func ask(
        _ operation: ControlMessage.Operation,
        _ path: String,
        _ name: String
    ) throws(GuestError) -> (Descriptor, (description: ControlDescription, descriptors: [Descriptor])) {
        let socket: Descriptor
        let reply: ControlMessage.Reply?
        let payload: [UInt8]
        let descriptors: [Descriptor]
        do {
            socket = try UnixSocket.connect(to: path)
        } catch {
            let isAbsent = error.code == ENOENT || error.code == ECONNREFUSED
            let advice = "no such guest runs here; start it with 'remusd guest run \(name)'"
            throw GuestError(guest: name, reason: isAbsent ? advice : "\(error)")
        }
        do {
            try socket.setNonBlocking(true)
            var request = [UInt8](repeating: 0, count: ControlMessage.size)
            request.withUnsafeMutableBytes {
                if let base = $0.baseAddress {
                    ControlMessage.Request(operation: operation, number: 1).encode(to: base)
                }
            }
            // A guest that turns us away may have closed already; its reason can be read all the same.
            try? UnixSocket.send(request, over: socket)
            let deadline = Clock.monotonic + answerLimit
            let header: [UInt8]
            (header, descriptors) = try receive(ControlMessage.size, from: socket, deadline)
            reply = header.withUnsafeBytes { $0.baseAddress.flatMap { ControlMessage.Reply($0) } }
            (payload, _) = try receive(reply?.length ?? 0, from: socket, deadline)
        } catch { throw GuestError(guest: name, reason: "\(error)") }
        if let reply, reply.status == .refused {
            throw GuestError(guest: name, reason: String(decoding: payload, as: UTF8.self))
        }
        guard reply != nil, let description = payload.withUnsafeBytes({ ControlDescription($0) }) else {
            throw GuestError(guest: name, reason: "what answers at \(path) is no guest of this version")
        }
        return (socket, (description, descriptors))
    }

    /// Exactly `count` bytes, and the descriptors that came with them.
    private static func receive(
        _ count: Int,
        from socket: Descriptor,
        _ deadline: UInt64
    ) throws(SystemError) -> ([UInt8], [Descriptor]) {
        var bytes: [UInt8] = []
        var descriptors: [Descriptor] = []
        while bytes.count < count {
            guard socket.waitReadable(until: deadline) else {
                throw SystemError("reach the guest's process, which does not answer", code: ETIMEDOUT)
            }
            guard let piece = try UnixSocket.receive(from: socket, capacity: count - bytes.count) else {
                continue
            }
            guard !piece.bytes.isEmpty else {
                throw SystemError("talk to the guest's process", code: ECONNRESET)
            }
            bytes += piece.bytes
            descriptors += piece.descriptors
        }
        return (bytes, descriptors)
    }

    // MARK: Requests

    /// Sends a request and waits for its reply.
    /// - Parameters:
    ///   - deadline: in `Clock.monotonic`.
    ///   - payload: sees the reply's payload, if one comes.
    func ask(
        _ operation: ControlMessage.Operation,
        argument: UInt64 = 0,
        deadline: UInt64,
        payload: (UnsafeRawBufferPointer) -> Void = { _ in }
    ) -> Answer {
        monitor.withLock { state in
            guard let number = send(operation, argument, &state) else { return .lost }
            return wait(number, deadline, &state, payload)
        }
    }

    /// Sends a request that has no reply. False if the connection has ended.
    func tell(_ operation: ControlMessage.Operation) -> Bool {
        monitor.withLock { state in send(operation, 0, &state) != nil }
    }

    /// Asks the guest to suspend; `suspendAnswer` tells what came of it. No request is made before the guest has
    /// acknowledged that an earlier one was withdrawn.
    func requestSuspend() {
        monitor.withLock { state in
            state.suspend = .wanted
            advanceSuspend(&state)
        }
    }

    /// The answer to the request, `late` while there is none.
    func suspendAnswer(registers: (UnsafeRawBufferPointer) -> Void) -> Answer {
        monitor.withLock { state in
            drain(&state)
            advanceSuspend(&state)
            if case .answered(let reply) = state.suspend {
                state.suspend = .none
                registers(UnsafeRawBufferPointer(rebasing: state.registers[..<reply.length]))
                return .reply(reply)
            }
            return state.isLost ? .lost : .late
        }
    }

    /// Takes the request back. The guest runs on, even if it has suspended.
    func cancelSuspend() {
        monitor.withLock { state in
            if case .wanted = state.suspend {} else { state.cancel = send(.cancel, 0, &state) }
            state.suspend = .none
        }
    }

    private func advanceSuspend(_ state: inout State) {
        guard case .wanted = state.suspend, state.cancel == nil else { return }
        guard let number = send(.suspend, 0, &state) else { return }
        state.suspend = .sent(number)
    }

    /// Takes everything that has come.
    private func drain(_ state: inout State) {
        while pump(0, &state) { _ = take(nil, &state) { _ in } }
    }

    /// How the guest ended, if it said so.
    var announcedEnd: GuestEnd? {
        monitor.withLock { state in
            drain(&state)
            return state.end
        }
    }

    /// Ends the connection: the guest runs on, its plug as it is.
    func close() { monitor.withLock { lose(&$0) } }

    // MARK: Messages; with the lock held

    private func send(_ operation: ControlMessage.Operation, _ argument: UInt64, _ state: inout State)
        -> UInt32?
    {
        guard !state.isLost else { return nil }
        state.number = state.number == .max ? 1 : state.number + 1
        let request = ControlMessage.Request(operation: operation, number: state.number, argument: argument)
        let isSent = withUnsafeTemporaryAllocation(byteCount: ControlMessage.size, alignment: 8) { bytes in
            guard let base = bytes.baseAddress else { return false }
            request.encode(to: base)
            return Glibc.send(socket.raw, base, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
        }
        if isSent { return state.number }
        // What the guest said before it went, such as that it is shutting down, is still to be heard.
        drain(&state)
        lose(&state)
        return nil
    }

    /// Waits for the reply to request `number`.
    private func wait(
        _ number: UInt32,
        _ deadline: UInt64,
        _ state: inout State,
        _ payload: (UnsafeRawBufferPointer) -> Void
    ) -> Answer {
        while true {
            if let reply = take(number, &state, payload) { return .reply(reply) }
            if !pump(deadline, &state) { return state.isLost ? .lost : .late }
        }
    }

    /// Takes messages out of the buffer until it finds the reply to `number`.
    private func take(
        _ number: UInt32?,
        _ state: inout State,
        _ payload: (UnsafeRawBufferPointer) -> Void
    ) -> ControlMessage.Reply? {
        while state.count >= ControlMessage.size, let base = state.buffer.baseAddress {
            guard let reply = ControlMessage.Reply(base) else {
                lose(&state)
                return nil
            }
            let length = ControlMessage.size + reply.length
            guard state.count >= length else { return nil }
            let isWanted = number == reply.number && reply.operation != .ending
            if isWanted {
                payload(UnsafeRawBufferPointer(rebasing: state.buffer[ControlMessage.size..<length]))
            }
            if reply.operation == .ending || reply.status == .ended {
                state.end = ControlMessage.EndKind(rawValue: reply.value)?.end ?? .crashed
            }
            if case .sent(reply.number) = state.suspend { keepSuspendReply(reply, &state) }
            if reply.operation == .cancel, reply.number == state.cancel { state.cancel = nil }
            memmove(base, base + length, state.count - length)
            state.count -= length
            if isWanted { return reply }
        }
        return nil
    }

    /// The answer to a suspend request waits for whoever asks for it.
    private func keepSuspendReply(_ reply: ControlMessage.Reply, _ state: inout State) {
        var reply = reply
        reply.length = min(reply.length, state.registers.count)
        let end = ControlMessage.size + reply.length
        state.registers.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: state.buffer[ControlMessage.size..<end])
        )
        state.suspend = .answered(reply)
    }

    /// Reads what has come, waiting for it until `deadline`. False if nothing came, or nothing can come any more.
    private func pump(_ deadline: UInt64, _ state: inout State) -> Bool {
        while !state.isLost {
            let target = state.buffer.baseAddress?.advanced(by: state.count)
            let count = recv(socket.raw, target, state.buffer.count - state.count, 0)
            if count > 0 {
                state.count += count
                return true
            }
            guard count < 0, errno == EAGAIN || errno == EINTR else {
                lose(&state)
                return false
            }
            guard socket.waitReadable(until: deadline) else { return false }
        }
        return false
    }

    private func lose(_ state: inout State) {
        guard !state.isLost else { return }
        state.isLost = true
        events.remove(socket)
        shutdown(socket.raw, Int32(SHUT_RDWR))
    }
}
