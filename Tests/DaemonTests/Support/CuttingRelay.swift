import Glibc
import Synchronization
import SystemSupport

@testable import Daemon

/// A piece of network before an etcd, which loses the answer to a transaction that etcd has carried out.
final class CuttingRelay: Sendable {
    let address: SocketAddress
    private let target: SocketAddress
    private let listener: Descriptor
    private let isStopped = Atomic<Bool>(false)
    /// How many more transactions' answers are lost, and what is done before each.
    private let cut = Mutex<(left: Int, action: @Sendable () -> Void)>((0, {}))

    init(to target: SocketAddress) throws {
        self.target = target
        listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        try listener.setNonBlocking(true)
        address = try TCP.localAddress(of: listener)
        try WorkerThread("cutter") { [self] in
            while !isStopped.load(ordering: .relaxed) {
                guard Poll.wait(listener.raw, milliseconds: 20),
                    let near = (try? TCP.accept(listener)) ?? nil
                else { continue }
                try? WorkerThread("cutter-pair") { [self] in carry(near) }.detach()
            }
        }.detach()
    }

    /// Loses the answers to the next `count` transactions, each after `action`.
    func cutAnswers(_ count: Int, _ action: @escaping @Sendable () -> Void = {}) {
        cut.withLock { $0 = (count, action) }
    }

    private func takeCut() -> (@Sendable () -> Void)? {
        cut.withLock { cut in
            guard cut.left > 0 else { return nil }
            cut.left -= 1
            return cut.action
        }
    }

    func stop() { isStopped.store(true, ordering: .relaxed) }

    private func carry(_ near: Descriptor) {
        guard let far = try? TCP.connect(to: target, milliseconds: 5000) else { return }
        var isTransaction = false
        while !isStopped.load(ordering: .relaxed) {
            var entries = [Poll.Entry(near.raw), Poll.Entry(far.raw)]
            Poll.wait(&entries, milliseconds: 20)
            if entries[0].isReadable {
                guard let bytes = receive(near) else { return }
                isTransaction = isTransaction || String(decoding: bytes, as: UTF8.self).contains("/v3/kv/txn")
                guard sendAll(bytes, to: far) else { return }
            }
            if entries[1].isReadable {
                guard let bytes = receive(far) else { return }
                if isTransaction, let action = takeCut() {
                    action()
                    return
                }
                isTransaction = false
                guard sendAll(bytes, to: near) else { return }
            }
        }
    }

    private func receive(_ socket: Descriptor) -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(socket.raw, &chunk, chunk.count, 0)
        return count > 0 ? Array(chunk[..<count]) : nil
    }

    private func sendAll(_ bytes: [UInt8], to socket: Descriptor) -> Bool {
        send(socket.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }
}

/// Something that listens where etcd should be: says the same to everybody, or nothing.
final class WrongServer: Sendable {
    let address: SocketAddress
    private let listener: Descriptor
    private let isStopped = Atomic<Bool>(false)

    /// - Parameter answer: after which the connection is closed; nil: accepts, and never answers.
    init(_ answer: String?) throws {
        listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        try listener.setNonBlocking(true)
        address = try TCP.localAddress(of: listener)
        try WorkerThread("wrong") { [self] in
            var silent: [Descriptor] = []
            while !isStopped.load(ordering: .relaxed) {
                guard Poll.wait(listener.raw, milliseconds: 20),
                    let near = (try? TCP.accept(listener)) ?? nil
                else { continue }
                guard let answer else {
                    silent.append(near)
                    continue
                }
                var chunk = [UInt8](repeating: 0, count: 1 << 16)
                _ = recv(near.raw, &chunk, chunk.count, 0)
                let bytes = Array(answer.utf8)
                _ = send(near.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                // Closing with something unread would take the answer back.
                shutdown(near.raw, Int32(SHUT_WR))
                while Poll.wait(near.raw, milliseconds: 1000), recv(near.raw, &chunk, chunk.count, 0) > 0 {}
            }
        }.detach()
    }

    func stop() { isStopped.store(true, ordering: .relaxed) }
}
