import Checkpoint
import Daemon
import Glibc
import Synchronization
import SystemSupport
import Testing

@Suite struct ControlServerTests {
    let directory: TemporaryDirectory
    let socket: String

    init() throws {
        directory = try TemporaryDirectory()
        socket = directory.file("primary-web1.sock")
    }

    /// What the tests below talk to.
    static var router: ControlRouter {
        struct Echo: Codable {
            var text: String
        }
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .json(status: 200, body: Array("[]".utf8)) }
        router.on("POST", "/v1/echo") { request, _ in .json(status: 200, body: request.body) }
        router.on("POST", "/v1/typed") { request, _ in .encoding(try request.decode(Echo.self)) }
        router.on("POST", "/v1/guests/{name}/activate") { request, names in
            .encoding(["name": names["name"] ?? "", "why": request.query["why"] ?? ""])
        }
        router.on("GET", "/v1/refused") { _, _ in
            throw ControlFailure(status: 409, code: "not_now", message: "not now: later")
        }
        return router
    }

    func server(_ limits: ControlServer.Limits = .init()) throws -> ControlServer {
        try ControlServer(path: socket, limits: limits, handler: Self.router.handle)
    }

    @Test func answersAndKeepsItsSocketPrivate() throws {
        let server = try server()
        var info = stat()
        #expect(stat(socket, &info) == 0)
        #expect(info.st_mode & 0o777 == 0o600)
        let (status, body) = try ControlClient(path: socket).get("/v1/status")
        #expect(status == 200)
        #expect(body == Array("[]".utf8))
        server.stop()
        #expect(access(socket, F_OK) != 0, "the socket goes with the server")
        #expect(access(socket + ".lock", F_OK) != 0, "and its lock")
    }

    @Test func aSuccessorServesAtOnce() throws {
        let first = try server()
        first.stop()
        let second = try server()
        defer { second.stop() }
        // The first is over: it must not take the second's socket with it.
        first.stop()
        #expect(try ControlClient(path: socket).get("/v1/status").status == 200)
    }

    @Test func goesWithItsObject() throws {
        do { _ = try server() }
        #expect(access(socket, F_OK) != 0)
        #expect(access(socket + ".lock", F_OK) != 0)
    }

    @Test func knowsWhoAsks() throws {
        let path = directory.file("who.sock")
        let server = try ControlServer(path: path) { .encoding($0.speaker) }
        defer { server.stop() }
        let who = try ControlClient(path: path).get("/", as: Speaker.self)
        #expect(who.pid == getpid() && who.uid == geteuid())
    }

    @Test func matchesPathsWithNamesAndQueries() throws {
        let server = try server()
        defer { server.stop() }
        let reply = try ControlClient(path: socket).post(
            "/v1/guests/web%2B1/activate?why=a%20b&x",
            as: [String: String].self,
            timeout: .seconds(5)
        )
        #expect(reply == ["name": "web+1", "why": "a b"])
    }

    @Test(arguments: [
        ("GET", "/v1/nothing", 404, "unknown_path"), ("POST", "/v1/status", 405, "wrong_method"),
        ("GET", "/v1/refused", 409, "not_now"), ("GET", "/v1/%zz", 400, "bad_path"),
    ])
    func saysWhatIsWrong(method: String, path: String, status: Int, code: String) throws {
        let server = try server()
        defer { server.stop() }
        let client = ControlClient(path: socket)
        let failure = #expect(throws: ControlFailure.self) {
            if method == "GET" {
                _ = try client.get(path, as: [Int].self)
            } else {
                _ = try client.post(path, as: [Int].self, timeout: .seconds(5))
            }
        }
        #expect(failure?.status == status)
        #expect(failure?.code == code)
    }

    @Test func refusesAWrongBody() throws {
        let server = try server()
        defer { server.stop() }
        for body in ["", "{", "[]", "{}", #"{"text":7}"#] {
            let reply = try ControlClient(path: socket).post(
                "/v1/typed",
                json: Array(body.utf8),
                timeout: .seconds(5)
            )
            #expect(reply.status == 400, "\(body)")
        }
    }

    @Test func takesBodiesUpToItsLimit() throws {
        let server = try server()
        defer { server.stop() }
        let whole = [UInt8](repeating: 0x41, count: 1 << 20)
        let reply = try ControlClient(path: socket).post("/v1/echo", json: whole, timeout: .seconds(30))
        #expect(reply.status == 200)
        #expect(reply.body == whole)
        let refused = try ControlClient(path: socket).post(
            "/v1/echo",
            json: whole + [0x41],
            timeout: .seconds(30)
        )
        #expect(refused.status == 413)
    }

    @Test func refusesAnEndlessChunkedBody() throws {
        let server = try server()
        defer { server.stop() }
        let raw = try RawConnection(socket)
        try raw.send("POST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        let chunk = "10000\r\n" + String(repeating: "x", count: 0x10000) + "\r\n"
        for _ in 0..<17 { try raw.send(chunk) }
        #expect(raw.readToEnd().hasPrefix("HTTP/1.1 413"))
    }

    @Test func refusesAHugeHeaderAndWhatIsNotHTTP() throws {
        let server = try server()
        defer { server.stop() }
        let huge = try RawConnection(socket)
        try huge.send(
            "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: \(String(repeating: "a", count: 100_000))\r\n\r\n"
        )
        #expect(huge.readToEnd().hasPrefix("HTTP/1.1 431"))
        let noise = try RawConnection(socket)
        try noise.send("\u{16}\u{3}\u{1}hello\r\n\r\n")
        let answer = noise.readToEnd()
        #expect(answer.hasPrefix("HTTP/1.1 400"))
        #expect(answer.contains(#""code":"bad_request""#))
    }

    @Test func closesOnASlowLoris() throws {
        var limits = ControlServer.Limits()
        limits.requestMilliseconds = 200
        let server = try server(limits)
        defer { server.stop() }
        let raw = try RawConnection(socket)
        try raw.send("GET /v1/status HTTP/1.1\r\nHos")
        // Trickles on: only the whole request counts, not the last byte.
        while (try? raw.send("t")) != nil { usleep(10_000) }
        #expect(raw.readToEnd() == "")
        #expect(try ControlClient(path: socket).get("/v1/status").status == 200)
    }

    @Test func servesSeveralRequestsOnOneConnection() throws {
        let server = try server()
        defer { server.stop() }
        let raw = try RawConnection(socket)
        let request = "GET /v1/status HTTP/1.1\r\nHost: x\r\n"
        try raw.send(request + "\r\n" + request + "\r\n" + request + "Connection: close\r\n\r\n")
        #expect(raw.readToEnd().split(separator: "HTTP/1.1 200 OK").count == 3)
    }

    @Test func oneSlowAnswerHoldsUpNobody() throws {
        let gate = EventGate()
        let server = try ControlServer(path: socket) { request in
            if request.path == "/slow" { gate.wait() }
            return .json(status: 200, body: [])
        }
        defer { server.stop() }
        let client = ControlClient(path: socket)
        let slow = Background { try client.get("/slow", timeout: .seconds(60)).status }
        let quick = (0..<20).map { _ in Background { try client.get("/quick").status } }
        for answer in quick { #expect(try answer.value() == 200) }
        gate.open()
        #expect(try slow.value() == 200)
    }

    @Test func refusesMoreConnectionsThanItsLimit() throws {
        var limits = ControlServer.Limits()
        limits.connections = 1
        let server = try server(limits)
        defer { server.stop() }
        let first = try RawConnection(socket)
        try first.send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        var byte: UInt8 = 0
        #expect(read(first.socket.raw, &byte, 1) == 1)
        #expect(try RawConnection(socket).readToEnd() == "")
    }

    @Test func replacesADeadSocketAndOnlyADeadOne() throws {
        // A socket file that nobody listens at any more.
        _ = try UnixSocket.listen(at: socket)
        #expect(throws: ControlClientError.notRunning(socket: socket, stale: true)) {
            try ControlClient(path: socket).get("/v1/status")
        }
        let server = try server()
        #expect(try ControlClient(path: socket).get("/v1/status").status == 200)
        #expect(throws: ControlServerError.self) { try self.server() }
        #expect(try ControlClient(path: socket).get("/v1/status").status == 200)
        server.stop()
        #expect(throws: ControlClientError.notRunning(socket: socket, stale: false)) {
            try ControlClient(path: socket).get("/v1/status")
        }
    }

    @Test func stopLetsAnAnswerEnd() throws {
        let gate = EventGate()
        let arrived = EventGate()
        let server = try ControlServer(path: socket) { _ in
            arrived.open()
            gate.wait()
            return .json(status: 200, body: Array("done".utf8))
        }
        let client = ControlClient(path: socket)
        let answer = Background { try client.get("/", timeout: .seconds(60)).body }
        arrived.wait()
        let stop = Background { server.stop(drainMilliseconds: 60_000) }
        gate.open()
        #expect(try answer.value() == Array("done".utf8))
        try stop.value()
    }

    @Test func aSilentServerTimesOut() throws {
        let silent = try UnixSocket.listen(at: socket)
        defer { withExtendedLifetime(silent) {} }
        #expect(throws: ControlClientError.timedOut(socket: socket, after: .milliseconds(50))) {
            try ControlClient(path: socket).get("/v1/status", timeout: .milliseconds(50))
        }
    }
}
