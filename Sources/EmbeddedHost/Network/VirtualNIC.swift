import Glibc
import SystemSupport

/// The guest's network card: owns the listener and the clients' sockets, brings requests to the vcpu, and sends what
/// the plug lets go. One thread; everything but `stop` and `plug` belongs to it.
///
/// Unchecked: the variables are touched by the NIC's thread only, and by `run`'s caller before it starts.
final class VirtualNIC: @unchecked Sendable {
    private let listener: Descriptor
    private let plug: Plug
    private let deliver: @Sendable (ClientConnection) -> Void
    private let epoll: Epoll
    private let stopping = Monitor(false)

    private var clients: [UInt64: ClientConnection] = [:]
    private var nextID: UInt64 = 2
    private var listed: [ClientConnection] = []
    /// Clients wait for room in the plug.
    private var sawFull = false

    private static let listenerToken: UInt64 = 0
    private static let wakeToken: UInt64 = 1
    private static let maximumClients = 4096
    private static let readSize = 64 << 10

    /// - Parameter deliver: takes a connection with requests to the vcpu; called on the NIC's thread.
    init(
        listener: Descriptor,
        plug: Plug,
        deliver: @escaping @Sendable (ClientConnection) -> Void
    ) throws(SystemError) {
        self.listener = listener
        self.plug = plug
        self.deliver = deliver
        epoll = try Epoll()
        try listener.setNonBlocking(true)
        try epoll.add(listener, .readable, token: Self.listenerToken)
        try epoll.add(plug.wake.descriptor, .readable, token: Self.wakeToken)
    }

    /// Ends `run`. From any thread.
    func stop() {
        stopping.withLock { $0 = true }
        plug.wake.signal()
    }

    /// The NIC's thread. When told to stop it still sends what may go, for at most half a second.
    func run() {
        var deadline: UInt64?
        while true {
            if deadline == nil, stopping.withLock({ $0 }) { deadline = Clock.monotonic + 500_000_000 }
            if let deadline {
                let isDone = clients.values.allSatisfy { plug.isSent($0) }
                if isDone || Clock.monotonic > deadline { break }
            }
            do {
                try epoll.wait(milliseconds: deadline == nil ? -1 : 10) { token, events in
                    switch token {
                    case Self.listenerToken: accept()
                    case Self.wakeToken: plug.wake.drain()
                    default: if let client = clients[token] { handle(client, events) }
                    }
                }
            } catch { fatalError("\(error)") }
            giveAttention()
        }
        for client in clients.values { close(client) }
    }

    private func accept() {
        for _ in 0..<64 {
            do {
                guard let socket = try TCP.accept(listener) else { return }
                // At the limit the client is turned away by closing its connection.
                guard clients.count < Self.maximumClients else { continue }
                try socket.setNonBlocking(true)
                try TCP.setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
                let client = ClientConnection(id: nextID, socket: socket)
                nextID += 1
                try epoll.add(socket, client.interest, token: client.id)
                clients[client.id] = client
            } catch {
                // Out of descriptors, most likely: the listener stays readable, so do not spin.
                usleep(10_000)
                return
            }
        }
    }

    private func handle(_ client: ClientConnection, _ events: Epoll.Events) {
        if !events.isDisjoint(with: [.hangup, .error]) { return close(client) }
        if events.contains(.readable) {
            switch plug.permissionToRead(client) {
            case .read: return read(client)
            case .close: return close(client)
            case .handOver: deliver(client)
            case .full: sawFull = true
            case .nothing: break
            }
            watch(client)
        } else if events.contains(.peerClosed) {
            return close(client)
        }
        if events.contains(.writable) { attend(client) }
    }

    private func read(_ client: ClientConnection) {
        let count = recv(client.socket.raw, client.input.reserve(Self.readSize), Self.readSize, 0)
        guard count > 0 else {
            if count == 0 || (errno != EAGAIN && errno != EINTR) { close(client) }
            return
        }
        client.input.commit(count)
        plug.handOver(client)
        deliver(client)
    }

    private func giveAttention() {
        repeat {
            var all = plug.takeAttention(into: &listed)
            if sawFull, !plug.isFull(pending: 0) { all = true }
            if all {
                sawFull = false
                for client in Array(clients.values) { attend(client) }
            } else {
                for client in listed where clients[client.id] != nil { attend(client) }
            }
            listed.removeAll(keepingCapacity: true)
        } while sawFull && !plug.isFull(pending: 0)
    }

    /// Sends what may go and takes up again what the client was kept waiting for.
    private func attend(_ client: ClientConnection) {
        var permission = plug.attend(client)
        if !client.sending.isEmpty {
            guard send(client) else { return close(client) }
            if client.sending.isEmpty, case .nothing = permission { permission = plug.attend(client) }
        }
        switch permission {
        case .close: return close(client)
        case .handOver: deliver(client)
        case .full: sawFull = true
        case .read, .nothing: break
        }
        watch(client)
    }

    /// False if the client is gone.
    private func send(_ client: ClientConnection) -> Bool {
        while !client.sending.isEmpty {
            let bytes = client.sending.readable
            let count = Glibc.send(client.socket.raw, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if count < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN
            }
            client.sending.consume(count)
            plug.sent(count)
        }
        return true
    }

    /// Brings the interest list up to date.
    private func watch(_ client: ClientConnection) {
        var interest: Epoll.Events = plug.isReadPaused(client) ? .peerClosed : .readable
        if !client.sending.isEmpty { interest.insert(.writable) }
        guard interest != client.interest else { return }
        client.interest = interest
        epoll.change(client.socket, interest, token: client.id)
    }

    private func close(_ client: ClientConnection) {
        plug.forget(client)
        epoll.remove(client.socket)
        clients[client.id] = nil
        shutdown(client.socket.raw, Int32(SHUT_RDWR))
    }
}
