import Checkpoint
import Glibc
import SystemSupport
import Testing
import XenHost

@testable import Daemon

@Suite struct DoctorTests {
    private let directory: TemporaryDirectory
    private let paths: Paths
    private var host = DoctorHost()

    init() throws {
        directory = try TemporaryDirectory()
        try SmallFile.makeDirectories(directory.file("auto"))
        paths = Paths(runtime: directory.file("run"), state: directory.file("state"))
        host.autostart = directory.file("auto")
        host.autostartSettings = directory.file("xendomains")
        host.modules = directory.path
        host.loadedModules = directory.file("loaded")
        host.capabilities = directory.file("capabilities")
        // In place of xl: the name is all that a configuration says.
        host.nameOf = { SmallFile.read($0) ?? "" }
    }

    private func examine(fixing: Bool = false) -> DoctorReport {
        Doctor(paths: paths, host: host).examine(fixing: fixing)
    }

    private func findings(_ check: String, fixing: Bool = false) -> [DoctorFinding] {
        examine(fixing: fixing).findings.filter { $0.check == check }
    }

    @Test func nothingIsWrongWhereNothingIs() {
        let report = examine()
        #expect(report.findings.filter { $0.check != "plugs" }.allSatisfy { $0.level == .ok })
        #expect(report.text().contains("ok    records      0 records can be read\n"))
    }

    @Test func aDirectoryThatOthersWriteToIsMended() throws {
        try paths.create()
        chmod(paths.state, 0o777)
        chmod(paths.runtime, 0o755)
        #expect(findings("directories").map(\.level) == [.warn, .fail])
        #expect(!examine().healthy)
        let mended = findings("directories", fixing: true)
        #expect(mended.map(\.level) == [.ok, .ok] && mended.allSatisfy(\.fixed))
        #expect(findings("directories").allSatisfy { $0.level == .ok && !$0.fixed })
    }

    @Test func aRecordThatCannotBeReadIsNamed() throws {
        try paths.create()
        try directory.write("{", to: "state/primary-web1.json")
        let found = findings("records")
        #expect(found.map(\.level) == [.fail])
        #expect(found.first?.message.contains("primary-web1.json") == true)
        #expect(found.first?.fix == nil, "a record is never mended by a program")
    }

    @Test func aDeadProtectIsNoticedByItsSocket() throws {
        try paths.create()
        let name = try GuestName("web1")
        _ = try UnixSocket.listen(at: paths.primarySocket(name))
        let found = findings("processes")
        #expect(found.map(\.level) == [.fail])
        #expect(found.first?.message.hasPrefix("remusd protect of web1 died") == true)
    }

    @Test func whenTheOtherSideWasHeardIsSaid() throws {
        try paths.create()
        var statuses = [StatusTextTests.primary]
        statuses[0].guest = "web1"
        let answer = statuses
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .encoding(answer) }
        let server = try ControlServer(
            path: paths.primarySocket(try GuestName("web1")),
            handler: router.handle
        )
        defer { server.stop() }
        let found = findings("contact")
        #expect(found.map(\.level) == [.ok])
        #expect(
            found.first?.message
                == "web1 (primary, protected): last acknowledgement from its standby 38ms ago"
        )
    }

    @Test func aKnownGuestThatIsStartedAtBootIsSaid() throws {
        try paths.create()
        let record = PrimaryRecord(guest: "web1", uuid: "u", generation: 1, session: nil, peer: nil)
        try record.store(at: paths.primaryRecord(try GuestName("web1")))
        try directory.write("other", to: "auto/other.cfg")
        #expect(findings("autostart").map(\.level) == [.ok])
        try directory.write("web1", to: "auto/web.cfg")
        let found = findings("autostart")
        #expect(found.map(\.level) == [.warn])
        #expect(found.first?.message.contains("auto/web.cfg") == true)
        // The boot guard's folder instead.
        for end in ["", "/"] {
            let text = "#XENDOMAINS_AUTO=/x\n  XENDOMAINS_AUTO=\"\(paths.runtime)/auto\(end)\"\n"
            try directory.write(text, to: "xendomains")
            #expect(findings("autostart").map(\.level) == [.ok])
        }
        // Any other folder is looked into.
        try directory.write("XENDOMAINS_AUTO=\(directory.file("mine"))\n", to: "xendomains")
        #expect(findings("autostart").map(\.level) == [.ok])
        try SmallFile.makeDirectories(directory.file("mine"))
        try directory.write("web1", to: "mine/1.cfg")
        #expect(findings("autostart").map(\.level) == [.warn])
    }

    /// A guest of Xen's, known, in a state, beside what the processes say; nobody has the right to suspend it.
    private func found(_ state: LifeState, _ statuses: [GuestStatus], name: String = "web1") throws
        -> [DoctorFinding]
    {
        let uuid = try #require(GuestUUID(StatusTextTests.primary.uuid))
        try paths.create()
        try PrimaryRecord(guest: "web1", uuid: "\(uuid)", generation: 1, session: nil, peer: nil)
            .store(at: paths.primaryRecord(try GuestName("web1")))
        return Doctor(paths: paths, host: host)
            .guests(
                StatusReport(statuses: statuses),
                among: [Domain(id: 5, uuid: uuid, state: state), Domain(id: 6, uuid: uuid, state: .gone)]
            ) { FoundGuest(domain: $0.id, uuid: $0.uuid, name: name) }
            .map(\.finding)
    }

    @Test func onlyWhatADeadProtectLeftIsLetRun() throws {
        var dead = StatusTextTests.primary
        dead.state = .dead
        let mine = try found(.suspended, [dead])
        #expect(mine.map(\.level) == [.fail] && mine[0].fix != nil)
        #expect(try found(.running, [dead]).map(\.level) == [.fail])
        // It may be running elsewhere: only a protect lets it run.
        let paused = try found(.paused, [dead])
        #expect(paused.map(\.level) == [.fail] && paused[0].fix == "ends the recording")
        // xl save and xl migrate suspend a guest too, and let it run themselves.
        let other = try found(.suspended, [])
        #expect(other.map(\.level) == [.warn] && other[0].fix == nil)
    }

    @Test func whatIsNotTheDeadProtectsGuestAnyMoreIsNoFailure() throws {
        var dead = StatusTextTests.primary
        dead.state = .dead
        #expect(try found(.paused, [dead], name: "web1--incoming").map(\.level) == [.ok])
        // The guest was activated here since: it is another copy.
        dead.isSucceededHere = true
        #expect(try found(.running, [dead]).map(\.level) == [.ok])
    }

    @Test func aKernelWithoutListsOfItsModulesSaysNothing() throws {
        try directory.write("control_d\n", to: "capabilities")
        #expect(findings("kernel").map(\.level) == [.warn])
    }

    @Test func modulesAreFoundHoweverTheyAreThere() throws {
        try SmallFile.makeDirectories(directory.file("loaded/ifb"))
        try directory.write(
            "kernel/net/sched/sch_ingress.ko\nkernel/net/sched/act-mirred.ko\nkernel/net/sched/act_gact.ko\n",
            to: "modules.builtin"
        )
        try directory.write("kernel/net/sched/sch_plug.ko.xz: kernel/a.ko\n", to: "modules.dep")
        #expect(findings("kernel").first?.message.hasPrefix("lacks cls_matchall,") == true)
        try directory.write("control_d\n", to: "capabilities")
        #expect(findings("kernel").map(\.level) == [.fail])
        try directory.write(
            "kernel/sch_plug.ko: \nkernel/net/sched/cls_matchall.ko.zst: kernel/sch_plug.ko\n",
            to: "modules.dep"
        )
        #expect(findings("kernel").map(\.level) == [.ok])
    }

    @Test func scriptsGetItAsJSON() throws {
        let report = DoctorReport([
            DoctorFinding("plugs", .fail, "left", fix: "removes it"), DoctorFinding("xen", .ok, "fine"),
        ])
        let text = String(decoding: try ControlJSON.encode(report), as: UTF8.self)
        #expect(
            text
                == #"{"findings":[{"check":"plugs","fix":"removes it","fixed":false,"level":"fail","message":"left"},"#
                + #"{"check":"xen","fix":null,"fixed":false,"level":"ok","message":"fine"}],"#
                + #""healthy":false,"schema":"remusd.doctor/1"}"#
        )
    }

    @Test func itsExitCodeSaysWhetherSomethingIsWrong() throws {
        let program = Program(directory: directory)
        try directory.write("{", to: "standby-web1.json")
        let wrong = try program.run("doctor", "--output", "json")
        #expect(wrong.exitCode == 1)
        let report = try ControlJSON.decode(DoctorReport.self, from: Array(wrong.output.utf8))
        #expect(report.findings.contains { $0.check == "records" && $0.level == .fail })
        unlink(directory.file("standby-web1.json"))
        #expect(try program.run("doctor").exitCode == 0)
    }
}
