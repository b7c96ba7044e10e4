import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import Daemon

/// Something listens where etcd should be, and is not etcd.
@Suite(.timeLimit(.minutes(5)))
struct WrongEtcdTests {
    let guest = GuestUUID.random()
    let patience = TimeSpan.seconds(60)

    init() { Signals.ignore([SIGPIPE]) }

    /// Whatever else listens there is not an etcd without a record.
    @Test(arguments: [
        ("HTTP/1.0 200 OK\r\n\r\n{}", "is not etcd's answer"),
        ("HTTP/1.0 200 OK\r\n\r\n<html>", "is not etcd's answer"),
        ("HTTP/1.0 404 Not Found\r\n\r\nno", "HTTP 404: no reason given"),
        ("HTTP/1.0 503 Busy\r\n\r\n{\"error\":\"e\",\"message\":\"no leader\"}", "HTTP 503: no leader"),
        ("HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "HTTP 302"),
        (
            "HTTP/1.0 200 OK\r\n\r\n" + String(repeating: " ", count: 100_000),
            "the answer has more than 65536 bytes"
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n{}", "remaining"),
        ("rubbish\r\n\r\n", ""),
    ])
    func somethingElseIsUnavailable(said: String, words: String) throws {
        let server = try WrongServer(said)
        defer { server.stop() }
        let arbiter = try #require(
            makeArbiter(try ArbiterSpec(parsing: "etcd:http://\(server.address)"))
        )
        let request = ArbiterRace.request(guest, from: 0, id: 1)
        let answer = arbiter.ask(request, deadline: patience)
        guard case .unavailable(let reason) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(reason.contains(words), "\(reason)")
        #expect(throws: ArbiterError.self) { try arbiter.record(of: guest, deadline: patience) }
    }
}
