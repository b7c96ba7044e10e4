import Glibc
import SystemSupport
import Testing

@testable import Daemon

@Suite(.timeLimit(.minutes(1))) struct GuardianClientTests {
    /// A daemon that is started again in the moment in which its old guardian dies can still connect to it.
    @Test func aDyingGuardianIsReplaced() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("guardian.sock")
        let listens = Monitor(false)
        let thread = try WorkerThread("dying") {
            guard let dying = try? UnixSocket.listen(at: path) else { return }
            listens.signal { $0 = true }
            // Accepted, and closed with its request unread: the connection is reset. The listener goes with it.
            guard Poll.wait(dying.raw, milliseconds: 10_000) else { return }
            let accepted = try? UnixSocket.accept(dying)
            _ = Poll.wait(accepted?.raw ?? -1, milliseconds: 10_000)
        }
        _ = listens.wait(until: Clock.monotonic + 10_000_000_000) { $0 ? true : nil }
        let client = try GuardianClient(path: path, program: Program.path)
        defer { kill(client.pid, SIGKILL) }
        thread.join()
        #expect(client.pid != getpid())
        #expect(try client.takeAll().isEmpty)
    }
}
