import Checkpoint
import Daemon
import Glibc
import SystemSupport
import Testing

/// What `status` says for processes that died: true, and with an advice that helps.
@Suite struct DeadProcessTests {
    let directory: TemporaryDirectory
    let paths: Paths
    let web1: GuestName

    init() throws {
        directory = try TemporaryDirectory()
        paths = Paths(runtime: directory.path, state: directory.path)
        web1 = try GuestName("web1")
    }

    func collect() throws -> StatusReport {
        try StatusCollector(paths: paths, timeout: .milliseconds(500)).collect()
    }

    // MARK: protect

    func leaveDeadPrimary(generation: UInt64) throws {
        _ = try UnixSocket.listen(at: paths.primarySocket(web1))
        try PrimaryRecord(
            guest: "web1",
            uuid: "u",
            generation: generation,
            session: "ab",
            peer: "10.0.0.2:7070"
        )
        .store(at: paths.primaryRecord(web1))
    }

    func leaveStandbyRecord(_ state: StandbyRecord.State, generation: UInt64, guest: GuestName? = nil) throws
    {
        let name = guest ?? web1
        try StandbyRecord(guest: name.text, uuid: "u", generation: generation, state: state)
            .store(at: paths.standbyRecord(name))
    }

    func serveStandby(_ status: GuestStatus) throws -> ControlServer {
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .encoding([status]) }
        return try ControlServer(path: paths.standbySocket(), handler: router.handle)
    }

    func serveGuest(uuid: String = "u", plug: String = "closed", held: UInt64 = 4096) throws -> ControlServer
    {
        var status = EmbeddedGuestStatus.unanswered("web1", state: "running")
        (status.uuid, status.pid, status.plug, status.heldBytes) = (uuid, 7, plug, held)
        status.address = "127.0.0.1:6400"
        let answer = status
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .encoding(answer) }
        return try ControlServer(path: paths.guestSocket(web1), handler: router.handle)
    }

    @Test func aDeadPrimaryIsNotStartedAgainWhereItsGuestIsActive() throws {
        try leaveDeadPrimary(generation: 3)
        try leaveStandbyRecord(.active, generation: 4)
        let guest = try serveGuest()
        defer { guest.stop() }
        var active = GuestStatus(guest: "web1", uuid: "u", role: .standby, state: .active, generation: 4)
        active.reasons = ["UNPROTECTED"]
        let standby = try serveStandby(active)
        let statuses = try collect().statuses
        #expect(statuses.map(\.state) == [.dead, .active])
        let expected = "the guest is active here, at generation 4, reached at 127.0.0.1:6400"
        #expect(statuses[0].reasons[0] == expected)
        #expect(!statuses[0].reasons.joined().contains("again"))
        #expect(statuses[0].heldBytes == nil)
        #expect(statuses.map(\.isAtRisk) == [false, true])
        let table = StatusText.table(statuses)
        #expect(table.contains("NOT PROTECTED: web1 (standby active)\n"))
        #expect(table.contains("3    -      -        -     the guest is active here"))
        standby.stop()
        let alone = try collect().statuses
        #expect(alone.map(\.isAtRisk) == [true], "nobody else says how the guest fares")
    }

    @Test func aGuestThatWasActivatedAndEndedIsNothingToTakeOver() throws {
        try leaveDeadPrimary(generation: 3)
        try leaveStandbyRecord(.active, generation: 4)
        let status = try #require(collect().statuses.first)
        #expect(status.reasons[0].contains("activated here, at generation 4, and does not run any more"))
        #expect(!status.reasons.joined().contains("again"))
    }

    /// A guest of Xen's has no socket: Xen is asked whether it is there.
    @Test func aGuestOfXensIsNotCalledGone() throws {
        try leaveDeadPrimary(generation: 3)
        let collector = StatusCollector(paths: paths, timeout: .milliseconds(500)) { $0 == "u" ? 7 : nil }
        let status = try #require(collector.collect().statuses.first)
        let words = status.reasons.joined(separator: "\n")
        #expect(words.contains("the guest is here, domain 7, UNPROTECTED"))
        #expect(words.contains("start 'remusd protect' for web1 again"))
        #expect(!words.contains("activate"))
    }

    /// The activated guest was protected from here, at a higher generation than the activation's.
    @Test func aDeadProtectionOfTheActivatedGuestIsTakenOver() throws {
        try leaveDeadPrimary(generation: 5)
        try leaveStandbyRecord(.active, generation: 4)
        let guest = try serveGuest()
        defer { guest.stop() }
        let status = try #require(collect().statuses.first)
        #expect(status.reasons[1].contains("start 'remusd protect' for web1 again"))
        #expect(status.isAtRisk)
    }

    @Test(arguments: ["closed", "open"])
    func aLivingGuestSaysWhatIsHeld(plug: String) throws {
        try leaveDeadPrimary(generation: 3)
        let guest = try serveGuest(plug: plug)
        defer { guest.stop() }
        let status = try #require(collect().statuses.first)
        #expect(status.heldBytes == 4096)
        #expect(status.address == "127.0.0.1:6400")
        #expect(status.reasons[1].contains(plug == "open" ? "UNPROTECTED" : "stays held"))
        #expect(status.reasons[1].contains("start 'remusd protect' for web1 again"))
    }

    @Test(arguments: [true, false])
    func aGuestThatIsGoneTooIsNotTakenOver(anotherRuns: Bool) throws {
        try leaveDeadPrimary(generation: 3)
        let guest = anotherRuns ? try serveGuest(uuid: "another") : nil
        defer { guest?.stop() }
        let status = try #require(collect().statuses.first)
        #expect(status.heldBytes == nil)
        #expect(status.reasons[1].contains("'remusd activate web1' there"))
        #expect(status.reasons[1].contains("10.0.0.2:7070"))
        #expect(!status.reasons.joined().contains("again"))
    }

    // MARK: standby

    /// A guardian in another process, as it is in life, that holds images of `guests`.
    func withGuardian(_ guests: [String], _ body: (Int32) throws -> Void) throws {
        let pid = try ChildProcess.spawn(Program.path, ["guardian", "--socket", paths.guardianSocket()])
        defer {
            kill(pid, SIGKILL)
            _ = ChildProcess.reap(pid)
        }
        var socket: Descriptor?
        for _ in 0..<500 where socket == nil {
            socket = try? UnixSocket.connect(to: paths.guardianSocket())
            if socket == nil { usleep(10_000) }
        }
        let guardian = try #require(socket)
        for guest in guests {
            // hold (GuardianProtocol.swift): 1, the key's length, the key, and memory files.
            try UnixSocket.send(
                [1, UInt8(guest.utf8.count)] + Array(guest.utf8),
                descriptors: [try Memfd.create(name: "test", size: 4096)],
                over: guardian
            )
            #expect(try UnixSocket.receive(from: guardian, capacity: 1)?.bytes == [0])
        }
        try body(pid)
    }

    @Test func aDeadStandbyWithItsGuardianKeepsItsImages() throws {
        _ = try UnixSocket.listen(at: paths.standbySocket())
        try leaveStandbyRecord(.image, generation: 4)
        try leaveStandbyRecord(.image, generation: 4, guest: GuestName("web2"))
        try withGuardian(["web1", "web3"]) { _ in
            let report = try collect()
            #expect(report.statuses.map(\.guest) == ["web1", "web2", "web3"])
            #expect(
                report.statuses[0].reasons[0].contains(
                    "its guardian still holds the image; start 'remusd standby'"
                )
            )
            #expect(report.statuses[0].generation == 4)
            #expect(
                report.statuses[1].reasons[0].contains("the image is lost, its guardian does not hold it")
            )
            #expect(report.statuses[2].reasons[0].contains("its guardian still holds the image"))
            #expect(report.notes.count == 1)
            #expect(report.notes[0].contains("holds the images of web1, web3"))
        }
    }

    @Test func aDeadStandbyWithoutItsGuardianHasLostThem() throws {
        _ = try UnixSocket.listen(at: paths.standbySocket())
        let empty = try collect()
        #expect(empty.statuses.isEmpty)
        #expect(empty.notes.count == 1)
        #expect(empty.notes[0].contains("no image is left"))
        _ = try UnixSocket.listen(at: paths.guardianSocket())
        try leaveStandbyRecord(.image, generation: 4)
        try directory.write("torn", to: "standby-web2.json")
        try leaveStandbyRecord(.crashed, generation: 4, guest: GuestName("web3"))
        try leaveStandbyRecord(.dropped, generation: 4, guest: GuestName("web4"))
        try leaveStandbyRecord(.active, generation: 4, guest: GuestName("web5"))
        let report = try collect()
        #expect(report.statuses.map(\.guest) == ["web1", "web2", "web3", "web4", "web5"])
        #expect(report.statuses.allSatisfy { $0.state == .dead && $0.heldBytes == 0 })
        #expect(!report.statuses.contains { $0.reasons.joined().contains("still holds") })
        let first = report.statuses.map { $0.reasons[0] }
        #expect(
            first[0].contains("the image is lost, no guardian runs here either; start 'remusd standby' again")
        )
        #expect(first[2].contains("the image is lost, no guardian runs here either; the guest crashed"))
        #expect(first[3].contains("given up before, as planned"))
        #expect(first[4].contains("activated here, at generation 4, and does not run any more"))
        #expect(report.statuses[1].reasons.contains { $0.contains("it is not JSON") })
    }

    @Test func aGuardianThatHangsIsNotKnown() throws {
        _ = try UnixSocket.listen(at: paths.standbySocket())
        try leaveStandbyRecord(.image, generation: 4)
        try withGuardian(["web1"]) { pid in
            kill(pid, SIGSTOP)
            let report = try collect()
            #expect(
                report.statuses[0].reasons[0].contains(
                    "whether its guardian still holds the image is not known"
                )
            )
            #expect(report.notes[0].contains("not known"))
        }
    }

    /// A listener that accepts nothing must not hold a status up, however often it is asked.
    @Test func aFullQueueEndsTheWait() throws {
        let path = try paths.guardianSocket()
        let listener = try UnixSocket.listen(at: path)
        defer { withExtendedLifetime(listener) {} }
        var waiting: [Descriptor] = []
        var code: Int32 = 0
        while code == 0, waiting.count < 200 {
            do throws(SystemError) {
                waiting.append(try UnixSocket.connect(to: path, milliseconds: 50))
            } catch {
                code = error.code
            }
        }
        #expect(code == EAGAIN)
    }
}
