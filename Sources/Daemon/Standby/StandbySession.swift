import Checkpoint
import Logging
import Synchronization
import SystemSupport
import Transport
import XenHost
import XenStream

/// One accepted connection, on a thread of its own, from hello to its end.
struct StandbySession {
    let connection: StandbyConnection
    let id: ConnectionID
    let service: StandbyService

    init(connection: StandbyConnection, id: ConnectionID, service: StandbyService) {
        self.connection = connection
        self.id = id
        self.service = service
    }

    /// Serves an accepted socket until it ends.
    static func run(_ socket: Descriptor, peer: String, id: ConnectionID, service: StandbyService) {
        // A peer that says nothing gets nothing, not even a thread for long.
        let deadline = Clock.monotonic + service.options.helloLimit.nanoseconds
        do throws(ConnectionError) {
            let connection = try StandbyConnection(
                socket,
                security: service.options.security,
                until: deadline
            )
            StandbySession(connection: connection, id: id, service: service).run(deadline)
        } catch {
            service.refusals.note("connection refused: \(error)", peer: peer)
        }
    }

    /// Serves the connection until it ends; a hello comes before `deadline`, or nothing does.
    func run(_ deadline: UInt64) {
        connection.limitKernel(aloneAfter: ProtectSettings().aloneAfter)
        do {
            let opening = try receiveOpening(deadline)
            guard service.door.passed(id, authenticated: connection.peerHost != nil) else { return }
            switch opening {
            case .inquiry(let inquiry):
                try authorise(guest: inquiry.name)
                try connection.send(.claim(service.claim(for: inquiry)), session: 0)
            case .hello(let hello):
                try authorise(guest: hello.guest.name, host: hello.host)
                connection.limit(until: nil)
                connection.limitKernel(aloneAfter: hello.aloneAfter)
                let guest = try service.guest(for: hello)
                defer { service.leave(guest) }
                try service.seat(hello.guest.name) { serve(hello, guest) }
            case let other:
                throw ConnectionError.frame(.badBody(other.type, "a connection begins with a hello"))
            }
        } catch {
            service.refusals.note("connection refused: \(error)", peer: connection.peer)
            connection.limit(until: deadline)
            let refusal = Refusal(reason: Self.reason(error), generation: 0, text: "\(error)")
            try? connection.send(.refuse(refusal), session: 0)
        }
    }

    /// A paired host speaks for itself, and about its guests.
    private func authorise(guest: String, host: String? = nil) throws(ConnectionError) {
        guard let peer = connection.peerHost else { return }
        if let objection = service.peers.objection(to: guest, saidBy: host ?? peer, from: peer) {
            throw .refused(objection)
        }
    }

    private static func reason(_ error: any Error) -> RefusalReason {
        if case ConnectionError.refused = error { return .notAllowed }
        if case ConnectionError.frame(.noCommonVersion) = error { return .noCommonVersion }
        return error is ConnectionError || error is ValueError ? .violation : .failure
    }

    /// The first message: a hello, or an inquiry.
    private func receiveOpening(_ deadline: UInt64) throws -> Message {
        let now = Clock.monotonic
        let left = deadline > now ? Int32((deadline - now) / 1_000_000) : 0
        guard connection.waitForFrame(milliseconds: left) else {
            throw ConnectionError.stalled(connection.peer)
        }
        var buffer = ControlBuffer()
        let header = try buffer.receiveHeader(from: connection)
        guard header.type == .hello || header.type == .inquiry else {
            throw ConnectionError.frame(.badBody(header.type, "a connection begins with a hello"))
        }
        return try buffer.receiveMessage(header, from: connection)
    }

    private func serve(_ hello: Hello, _ guest: StandbyGuest) {
        guest.state.withLock { $0.connections[id] = connection }
        defer { guest.state.withLock { $0.connections[id] = nil } }
        guard guest.admits(hello, on: id) else { return }
        guest.session.withLock { _ in
            // It may have given up while it waited; what it said then need not be true any more.
            guard !connection.hasEnded else { return }
            do {
                _ = try guest.handle(.hello(hello, service.memory(for: hello, guest), on: id))
                guard guest.state.withLock({ $0.machine.liveConnection == id }) else { return }
                // Making room for it, this thread did not listen.
                keepAlive(guest)
                service.lookSoon()
                try replicate(guest)
            } catch {
                report(error, guest)
            }
            guest.noticeLostImage()
            _ = try? guest.handle(.connectionLost(id))
        }
    }

    private func report(_ error: any Error, _ guest: StandbyGuest) {
        if let error = error as? ConnectionError {
            guest.state.withLock { state in
                state.link.sees(connection)
                state.connectionError = (id, error)
            }
        }
        switch error {
        case let error as EpochError:
            switch error {
            case .overMemoryCeiling, .tooLong: _ = try? guest.handle(.failure(.noMemory, "\(error)", on: id))
            default: _ = try? guest.handle(.violation("\(error)", on: id))
            }
        case ConnectionError.frame(let error): _ = try? guest.handle(.violation("\(error)", on: id))
        case is ConnectionError:
            guest.log.info("connection ended: \(error)", metadata: ["peer": "\(connection.peer)"])
        default: _ = try? guest.handle(.failure(.failure, "\(error)", on: id))
        }
    }

    /// Receives epochs and messages until the connection ends.
    private func replicate(_ guest: StandbyGuest) throws {
        let stored = guest.state.withLock { $0.machine.isSyncing ? $0.incoming : $0.image }
        guard let stored else { return }
        var assembler = try EpochAssembler(
            image: stored.image,
            budgets: service.budgets,
            memoryLimit: service.memoryLimit(for: guest)
        )
        var buffer = ControlBuffer()
        let number = stored.image.session
        var isComing = false
        while true {
            if let warm = stored.warm, warm.isGone {
                throw GuestError(guest: guest.name.text, reason: warm.reason)
            }
            guard connection.waitForFrame(milliseconds: 50, soon: isComing) else {
                _ = try guest.handle(.tick)
                guard isLive(guest) else { return }
                continue
            }
            let header = try buffer.receiveHeader(from: connection)
            isComing = header.type.isData
            guard header.session == number else {
                throw ConnectionError.frame(.badBody(header.type, "it belongs to another session"))
            }
            if header.type.isData {
                // After a planned end, what was on its way is not wanted any more.
                guard isLive(guest) else { return }
                let bytes = try receive(header, into: &assembler)
                if assembler.epoch == 0, let warm = stored.warm {
                    try warm.take(bytes) { keepAlive(guest) }
                }
                _ = try guest.handle(.dataReceived(on: id))
                continue
            }
            let message = try buffer.receiveMessage(header, from: connection)
            guard case .epochEnd(let epoch, let end) = message else {
                _ = try guest.handle(.received(message, on: id))
                guard isLive(guest) else { return }
                continue
            }
            let length = try assembler.finish(end, epoch: epoch)
            guest.sealedLength.store(length, ordering: .relaxed)
            if epoch == 0 { try stored.warm?.whole { keepAlive(guest) } }
            if let applies = try guest.handle(.epochWhole(epoch, on: id)) {
                try stored.apply(applies) { keepAlive(guest) }
                if length > StandbyService.trimAbove { stored.storage.trimEpochBuffer() }
            }
            assembler.limitMemory(service.memoryLimit(for: guest))
        }
    }

    /// Takes a data frame.
    /// - Returns: its bytes of the stream, valid until the next.
    private func receive(_ frame: FrameHeader, into assembler: inout EpochAssembler) throws
        -> UnsafeRawBufferPointer
    {
        let count = Int(frame.length)
        if frame.type == .encodedData {
            try connection.read(into: assembler.encodedSpace(count))
            return try assembler.receivedEncoded(count, epoch: frame.epoch)
        }
        let space = try assembler.space(count)
        try connection.read(into: space)
        try assembler.received(count, epoch: frame.epoch)
        return UnsafeRawBufferPointer(space)
    }

    /// This thread is busy with what came: no silence, and the beats go on.
    private func keepAlive(_ guest: StandbyGuest) { _ = try? guest.handle(.notListening(on: id)) }

    private func isLive(_ guest: StandbyGuest) -> Bool {
        guest.state.withLock { $0.machine.liveConnection == id }
    }
}

/// One control frame on its way in. Grows to the largest frame once.
struct ControlBuffer: ~Copyable {
    private let header = UnsafeMutableRawBufferPointer.allocate(byteCount: FrameHeader.size, alignment: 16)
    private var body = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)

    init() {}

    deinit {
        header.deallocate()
        body.deallocate()
    }

    mutating func receiveHeader(from connection: StandbyConnection) throws -> FrameHeader {
        try connection.read(into: header)
        do {
            return try FrameHeader(decoding: UnsafeRawBufferPointer(header))
        } catch {
            throw ConnectionError.frame(error)
        }
    }

    mutating func receiveMessage(_ frame: FrameHeader, from connection: StandbyConnection) throws -> Message {
        let count = Int(frame.length)
        if body.count < count {
            body.deallocate()
            body = .allocate(byteCount: count, alignment: 16)
        }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: body[..<count])
        try connection.read(into: bytes)
        do {
            try frame.check(UnsafeRawBufferPointer(header), body: UnsafeRawBufferPointer(bytes))
            return try Message(frame, body: UnsafeRawBufferPointer(bytes))
        } catch {
            throw ConnectionError.frame(error)
        }
    }
}
