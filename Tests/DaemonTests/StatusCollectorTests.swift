import Checkpoint
import Daemon
import SystemSupport
import Testing

@Suite struct StatusCollectorTests {
    let directory: TemporaryDirectory
    let paths: Paths
    let web1: GuestName
    let web2: GuestName

    init() throws {
        directory = try TemporaryDirectory()
        paths = Paths(runtime: directory.path, state: directory.path)
        web1 = try GuestName("web1")
        web2 = try GuestName("web2")
    }

    func serve(_ path: String, _ statuses: [GuestStatus]) throws -> ControlServer {
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .encoding(statuses) }
        return try ControlServer(path: path, handler: router.handle)
    }

    @Test func nothingIsAnEmptyReport() throws {
        #expect(try StatusCollector(paths: paths).collect() == StatusReport())
        #expect(try StatusCollector(paths: paths).collect(web1) == StatusReport())
    }

    @Test func gathersEveryProcess() throws {
        let one = GuestStatus(guest: "web1", role: .primary, state: .protected, protected: true)
        let two = GuestStatus(guest: "web2", role: .primary, state: .syncing)
        let held = GuestStatus(guest: "web1", role: .standby, state: .standby, protected: true)
        let servers = [
            try serve(paths.primarySocket(web2), [two]), try serve(paths.standbySocket(), [held]),
            try serve(paths.primarySocket(web1), [one]),
        ]
        defer { for server in servers { server.stop() } }
        #expect(try StatusCollector(paths: paths).collect() == StatusReport(statuses: [one, held, two]))
        #expect(try StatusCollector(paths: paths).collect(web1) == StatusReport(statuses: [one, held]))
        #expect(try StatusCollector(paths: paths).collect(web2) == StatusReport(statuses: [two]))
    }

    @Test func aDeadPrimaryIsAStatusFromItsRecord() throws {
        _ = try UnixSocket.listen(at: paths.primarySocket(web1))
        try PrimaryRecord(guest: "web1", uuid: "u", generation: 7, session: "ab", peer: "127.0.0.1:1").store(
            at: paths.primaryRecord(web1)
        )
        let status = try #require(StatusCollector(paths: paths).collect().statuses.first)
        #expect(status.role == .primary)
        #expect(status.state == .dead)
        #expect(!status.protected)
        #expect(status.generation == 7)
        #expect(status.uuid == "u")
        #expect(status.peer == "127.0.0.1:1")
        #expect(status.reasons.first?.hasPrefix("remusd protect is not running: ") == true)
        #expect(status.heldBytes == nil, "nobody knows what the plug holds")
    }

    @Test func aProcessThatHangsIsSilent() throws {
        let hanging = try UnixSocket.listen(at: paths.primarySocket(web1))
        defer { withExtendedLifetime(hanging) {} }
        let report = try StatusCollector(paths: paths, timeout: .milliseconds(50)).collect()
        #expect(report.statuses.map(\.state) == [.silent])
        #expect(report.statuses[0].reasons[0].contains("did not answer within 50ms"))
    }

    @Test func anAnswerOfAnotherFormIsSilent() throws {
        let server = try ControlServer(path: paths.primarySocket(web1)) { _ in
            .json(status: 200, body: Array(#"[{"guest":"web1"}]"#.utf8))
        }
        defer { server.stop() }
        let report = try StatusCollector(paths: paths).collect()
        #expect(report.statuses.map(\.state) == [.silent])
        #expect(report.statuses[0].reasons[0].contains("'schema' is missing"))
    }
}
