import Checkpoint
import Glibc
import Synchronization
import SystemSupport

@testable import Daemon

/// A real etcd (Debian's etcd-server), alone, on loopback, with a data directory of its own. Where there is none its tests fail:
/// they are never skipped.
final class EtcdServer: Sendable {
    private struct State {
        var pid: Int32?
        var life = 0
    }

    let directory: TemporaryDirectory
    let address: SocketAddress
    private let peers: SocketAddress
    private let tls: [String]
    private let state = Mutex(State())

    var url: String { "\(tls.isEmpty ? "http" : "https")://\(address)" }

    /// - Parameter tls: etcd's options for certificates.
    init(_ directory: TemporaryDirectory, tls: [String] = []) throws {
        self.directory = directory
        self.tls = tls
        address = try Self.freeAddress()
        peers = try Self.freeAddress()
        try start()
    }

    deinit { kill() }

    /// Starts it with what it had, and waits until it answers.
    func start() throws {
        let places = ["/usr/bin/etcd", "/usr/local/bin/etcd"]
        guard let path = places.first(where: { access($0, X_OK) == 0 })
        else {
            throw SystemError("find etcd, which these tests need: apt-get install etcd-server", code: ENOENT)
        }
        let life = state.withLock { $0.life }
        let arguments =
            [
                "--name", "one", "--data-dir", directory.file("etcd.\(life)"), "--listen-client-urls", url,
                "--advertise-client-urls", url, "--listen-peer-urls", "http://\(peers)",
                "--initial-advertise-peer-urls", "http://\(peers)", "--initial-cluster",
                "one=http://\(peers)",
            ] + tls
        let log = try SmallFile.openLog(directory.file("etcd.log"))
        let pid = try ChildProcess.spawn(
            path,
            arguments,
            inherited: [1: log, 2: log],
            environment: ["PATH=/usr/bin:/bin"]
        )
        state.withLock { $0.pid = pid }
        // A minute: beside whatever else this machine does.
        for _ in 0..<600 {
            if isAnswering { return }
            usleep(100_000)
        }
        let words = (SmallFile.read(directory.file("etcd.log")) ?? "").suffix(2000)
        throw SystemError("start etcd: \(words)", code: ETIMEDOUT)
    }

    /// Whether it listens. With TLS that is all that is asked; without, it must be ready to answer.
    private var isAnswering: Bool {
        guard let socket = try? TCP.connect(to: address, milliseconds: 1000) else { return false }
        guard tls.isEmpty else { return true }
        let request = Array("GET /health HTTP/1.0\r\nHost: etcd\r\n\r\n".utf8)
        guard write(socket.raw, request, request.count) == request.count else { return false }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while Poll.wait(socket.raw, milliseconds: 2000) {
            let count = read(socket.raw, &chunk, chunk.count)
            guard count > 0 else { break }
            answer += chunk[..<count]
        }
        return String(decoding: answer, as: UTF8.self).contains(#""health":"true""#)
    }

    /// Power loss.
    func kill() {
        guard let pid = state.withLock({ exchange(&$0.pid, with: nil) }) else { return }
        Glibc.kill(pid, SIGKILL)
        ChildProcess.reap(pid)
    }

    /// SIGSTOP is over when all of it has stopped: on a busy machine some of its threads go on for a while.
    func signal(_ number: Int32) {
        guard let pid = state.withLock({ $0.pid }) else { return }
        Glibc.kill(pid, number)
        var status: Int32 = 0
        if number == SIGSTOP { waitpid(pid, &status, WUNTRACED) }
    }

    /// Starts it again, with nothing that it knew.
    func startWithoutMemory() throws {
        kill()
        state.withLock { $0.life += 1 }
        try start()
    }

    /// One request, as it comes.
    func post(_ path: String, _ body: String) throws -> String {
        let session = try HTTPSession(EtcdSpec(endpoints: []))
        let answer = try session.post(url + path, Array(body.utf8), timeout: .seconds(30))
        return String(decoding: answer.body, as: UTF8.self)
    }

    /// Somebody else's write.
    func put(_ key: String, _ value: [UInt8], lease: String? = nil) throws {
        let lease = lease.map { #","lease":"\#($0)""# } ?? ""
        let key = EtcdText.encode(Array(key.utf8))
        _ = try post("/v3/kv/put", #"{"key":"\#(key)","value":"\#(EtcdText.encode(value))"\#(lease)}"#)
    }

    private static func freeAddress() throws -> SocketAddress {
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        return try TCP.localAddress(of: listener)
    }
}
