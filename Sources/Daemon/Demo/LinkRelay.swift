import Checkpoint
import Glibc
import SystemSupport

/// A piece of network between a primary and its standby that can be made to carry nothing, both ends staying open.
final class LinkRelay: Sendable {
    private struct State {
        var isForwarding = true
        var isStopped = false
        var sockets: [Descriptor] = []
        var threads = 0
    }

    /// Where to connect instead.
    let address: SocketAddress
    private let target: SocketAddress
    private let listener: Descriptor
    private let state = Monitor(State())

    /// Relays connections to `target`.
    init(to target: SocketAddress) throws(SystemError) {
        self.target = target
        listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        try listener.setNonBlocking(true)
        address = try TCP.localAddress(of: listener)
        try run("relay") { [self] in accept() }
    }

    /// Whether bytes are carried on. What is sent meanwhile waits, as far as there is room.
    func setForwarding(_ on: Bool) { state.signal { $0.isForwarding = on } }

    /// Closes everything and waits for the threads.
    func stop() {
        state.signal { state in
            state.isStopped = true
            for socket in state.sockets { shutdown(socket.raw, Int32(SHUT_RDWR)) }
        }
        _ = state.wait(until: Clock.monotonic + 5_000_000_000) { $0.threads == 0 ? true : nil }
    }

    private func run(_ name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        state.withLock { $0.threads += 1 }
        do throws(SystemError) {
            try WorkerThread(name) { [state] in
                body()
                state.signal { $0.threads -= 1 }
            }.detach()
        } catch {
            state.signal { $0.threads -= 1 }
            throw error
        }
    }

    private func accept() {
        while !state.withLock({ $0.isStopped }) {
            guard Poll.wait(listener.raw, milliseconds: 50), let near = (try? TCP.accept(listener)) ?? nil
            else { continue }
            try? run("relay-pair") { [self] in connect(near) }
        }
    }

    private func connect(_ near: Descriptor) {
        guard mayPass(), let far = try? TCP.connect(to: target, milliseconds: 1000) else { return }
        try? TCP.setOption(near, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        state.withLock { $0.sockets += [near, far] }
        try? run("relay-back") { [self] in carry(far, near) }
        carry(near, far)
        state.withLock { state in state.sockets.removeAll { $0 === near || $0 === far } }
    }

    /// Waits while nothing is carried; false once all is over.
    private func mayPass() -> Bool {
        state.wait { state in state.isStopped ? false : state.isForwarding ? true : nil } ?? false
    }

    private func carry(_ from: Descriptor, _ to: Descriptor) {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        copying: while true {
            let count = recv(from.raw, &buffer, buffer.count, 0)
            guard count > 0, mayPass() else { break }
            var done = 0
            while done < count {
                let written = buffer.withUnsafeBytes {
                    send(to.raw, $0.baseAddress?.advanced(by: done), count - done, Int32(MSG_NOSIGNAL))
                }
                guard written > 0 else { break copying }
                done += written
            }
        }
        // The end of one direction ends both: the two remusd never half-close.
        if mayPass() {
            shutdown(to.raw, Int32(SHUT_RDWR))
            shutdown(from.raw, Int32(SHUT_RDWR))
        }
    }
}
