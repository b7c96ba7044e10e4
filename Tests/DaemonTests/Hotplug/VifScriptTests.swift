import Checkpoint
import Glibc
import NetBuffer
import SystemSupport
import Testing
import XenHost

@testable import Daemon

/// xenstore as a dictionary, and a kernel as another: what was done to them, in order.
private final class Machine: XenstoreWriting, BridgeKernel {
    var values: [String: String] = [:]
    var links: [String: PortState] = [
        "xenbr0": PortState(index: 2, kind: "bridge", isUp: true, mtu: 9000),
        "vif5.0": PortState(index: 7, kind: "vif"), "vif5.0-emu": PortState(index: 8, kind: "tun"),
    ]
    var done: [String] = []
    var isReadOnly = false

    func read(_ path: String) -> String? { values[path] }
    func list(_ path: String) -> [String] { [] }
    func write(_ path: String, _ value: String) throws(GuestError) {
        if isReadOnly { throw GuestError(guest: "network card", reason: "xenstored does not answer") }
        values[path] = value
        done.append("\(path) = \(value)")
    }

    func interface(named name: String) -> PortState? { links[name] }
    func perform(_ order: PortOrder, on interface: Int32) throws(NetlinkError) {
        guard let name = links.first(where: { $0.value.index == interface })?.key else {
            throw NetlinkError("work", code: ENODEV)
        }
        done.append("\(name) \(order)")
        switch order {
        case .enter(let bridge):
            links[name]?.master = bridge
            links[name]?.isUp = true
        case .leave:
            links[name]?.master = 0
            links[name]?.isUp = false
        case .mtu(let bytes): links[name]?.mtu = bytes
        case .rename(let other):
            links[other] = links[name]
            links[name] = nil
        default: break
        }
    }
}

@Suite struct VifScriptTests {
    private static let card = "backend/vif/5/0"
    /// As libxl gives it for an emulated card, which has both interfaces.
    private static let environment = [
        "XENBUS_PATH": card, "XENBUS_TYPE": "vif", "XENBUS_BASE_PATH": "backend", "netdev": "",
        "vif": "vif5.0",
        "INTERFACE": "vif5.0-emu", "script": "/var/lib/remusd/vif-remusd",
    ]
    private let machine = Machine()

    init() {
        machine.values = [
            "backend/vif/5/0/bridge": "xenbr0", "backend/vif/5/0/frontend": "/local/domain/5/device/vif/0",
            "backend/vif/5/0/hotplug-status": "",
        ]
    }

    private func script(_ arguments: String...) throws -> VifScript {
        try VifScript(arguments: arguments) { Self.environment[$0] }
    }

    private func run(_ arguments: String...) throws {
        try VifScript(arguments: arguments) { Self.environment[$0] }.perform(machine, machine)
    }

    @Test func aVifGoesIntoItsBridgeAndThenIsConnected() throws {
        try run("online", "type_if=vif")
        #expect(machine.links["vif5.0"] == PortState(index: 7, kind: "vif", isUp: true, master: 2, mtu: 9000))
        #expect(machine.links["vif5.0-emu"]?.master == 0)
        #expect(machine.values["/local/domain/5/device/vif/0/mtu"] == "9000")
        #expect(machine.done.last == "backend/vif/5/0/hotplug-status = connected")
        #expect(machine.values["backend/vif/5/0/hotplug-error"] == nil)
    }

    @Test func aTapGoesIntoItsBridgeAndNothingIsSaid() throws {
        try run("add", "type_if=tap")
        #expect(machine.links["vif5.0-emu"]?.master == 2 && machine.links["vif5.0-emu"]?.isUp == true)
        #expect(machine.links["vif5.0"]?.master == 0)
        #expect(!machine.done.contains { $0.contains(" = ") })
    }

    @Test(arguments: [
        ["online", "type_if=tap"], ["add", "type_if=vif"], ["remove"], ["offline", "type_if=tap"],
    ])
    func itIsTheOtherInterfacesTurn(_ arguments: [String]) throws {
        let script = try VifScript(arguments: arguments) { Self.environment[$0] }
        #expect(script.action == .nothing)
        try script.perform(machine, machine)
        #expect(machine.done.isEmpty)
    }

    @Test func aNameThatTheConfigurationGivesIsGiven() throws {
        machine.values["backend/vif/5/0/vifname"] = "web1"
        try run("online", "type_if=vif")
        try run("add", "type_if=tap")
        #expect(machine.links["web1"]?.master == 2 && machine.links["web1-emu"]?.master == 2)
        #expect(machine.links["vif5.0"] == nil)
        // libxl goes on calling it by its number.
        try run("offline", "type_if=vif")
        #expect(machine.links["web1"] == PortState(index: 7, kind: "vif", mtu: 9000))
    }

    @Test func anMTUOfTheCardsOwn() throws {
        machine.values["backend/vif/5/0/mtu"] = "1400"
        try run("online")
        #expect(machine.links["vif5.0"]?.mtu == 1400)
        #expect(machine.values["/local/domain/5/device/vif/0/mtu"] == "1400")
    }

    @Test func whatGoesIsTakenOutAndWhatIsGoneIsNoError() throws {
        try run("online")
        try run("offline", "type_if=vif")
        #expect(machine.links["vif5.0"]?.master == 0 && machine.links["vif5.0"]?.isUp == false)
        machine.links = [:]
        machine.values = [:]
        try run("offline", "type_if=vif")
        try run("remove", "type_if=tap")
    }

    @Test func whatCannotBeDoneIsSaidWhereLibxlLooks() throws {
        machine.values["backend/vif/5/0/bridge"] = "xenbr1"
        let script = try script("online", "type_if=vif")
        let error = #expect(throws: BridgePortError.self) { try script.perform(machine, machine) }
        script.report(try #require(error), machine)
        #expect(machine.values["backend/vif/5/0/hotplug-error"] == "xenbr1: this host has none of that name")
        #expect(machine.done.last == "backend/vif/5/0/hotplug-status = error")
        machine.values["backend/vif/5/0/bridge"] = ""
        #expect(throws: VifScriptError.self) { try script.perform(machine, machine) }
    }

    @Test func aCardIsNotConnectedWhoseStatusCannotBeWritten() throws {
        machine.isReadOnly = true
        let script = try script("online", "type_if=vif")
        #expect(throws: GuestError.self) { try script.perform(machine, machine) }
        script.report(VifScriptError("x"), machine)
        #expect(machine.values["backend/vif/5/0/hotplug-status"] == "")
    }

    @Test(arguments: [[], ["online", "type_if=bond"], ["start"], ["--help"]])
    func anythingElseIsNotLibxls(_ arguments: [String]) {
        #expect(throws: VifScriptError.self) {
            _ = try VifScript(arguments: arguments) { Self.environment[$0] }
        }
    }

    @Test(arguments: ["XENBUS_PATH", "vif"])
    func whatMustBeInTheEnvironment(_ missing: String) {
        #expect(throws: VifScriptError.self) {
            _ = try VifScript(arguments: ["online"]) { $0 == missing ? nil : Self.environment[$0] }
        }
    }
}

/// The program itself, called by that name.
@Suite struct VifScriptProgramTests {
    @Test func theNameTellsWhatItIsFor() {
        #expect(VifScriptProgram.isMeant(by: "/var/lib/remusd/vif-remusd"))
        #expect(VifScriptProgram.isMeant(by: "vif-remusd"))
        #expect(!VifScriptProgram.isMeant(by: "/usr/sbin/remusd"))
        #expect(!VifScriptProgram.isMeant(by: "/vif-remusd/remusd"))
        #expect(!VifScriptProgram.isMeant(by: ""))
    }

    /// No card, no command line of remusd's own: what is not libxl's is refused, and nothing is taken for a success.
    @Test func itIsRunByItsName() throws {
        let directory = try TemporaryDirectory()
        let name = directory.file(VifScriptLink.file)
        try SmallFile.replaceLink(name, to: Program.path)
        let words = directory.file("words")
        let raw = open(words, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        try #require(raw >= 0)
        let pid = try ChildProcess.spawn(
            name,
            ["online", "type_if=vif"],
            inherited: [2: Descriptor(owning: raw)],
            environment: ["PATH=/usr/bin:/bin"]
        )
        #expect(ChildProcess.reap(pid) == .exited(1))
        let said = try #require(SmallFile.read(words))
        #expect(said.contains("vif-remusd: XENBUS_PATH does not name a network card"))
    }
}
