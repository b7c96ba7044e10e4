import SystemSupport
import Testing
import XenHost

/// What is done besides checkpoints: the log of writes, and putting right what a dead process left.
@Suite struct DeviceModelTests {
    private let qemu: ScriptedQEMU
    private let model: DeviceModel

    init() throws {
        qemu = try ScriptedQEMU()
        model = try DeviceModel(of: 7, folder: qemu.folder)
    }

    private var soon: UInt64 { Clock.monotonic + 10_000_000_000 }
    /// Long enough for what is there to be read, and no longer.
    private var hardly: UInt64 { Clock.monotonic + 50_000_000 }

    @Test func theLogIsSwitchedOnAndOff() throws {
        try model.logWrites(true, until: soon)
        #expect(qemu.read(\.logsWrites))
        try model.logWrites(false, until: soon)
        #expect(!qemu.read(\.logsWrites))
        #expect(
            qemu.journal.filter { $0 != "qmp_capabilities" }.map { $0.suffix(3) } == [" on", " on", "off"]
        )
    }

    @Test func aLogThatIsOffAlreadyIsNotSwitchedOffTwice() throws {
        try model.logWrites(false, until: soon)
        try model.logWrites(false, until: soon)
        #expect(!qemu.read(\.isSwitchedTwice))
        #expect(!qemu.read(\.logsWrites))
    }

    @Test func aConnectionLastsNoLongerThanItsPurpose() throws {
        try model.check(until: soon)
        // QEMU serves one at a time.
        let other = try DeviceModel(of: 7, folder: qemu.folder)
        try other.check(until: soon)
        try model.check(until: soon)
    }

    @Test func withoutAQEMU() {
        qemu.end()
        #expect(throws: QMPError.absent("\(qemu.folder)/qmp-libxenstat-7")) { try model.check(until: soon) }
        #expect(throws: QMPError.absent("\(qemu.folder)/qmp-libxenstat-7")) { try model.begin() }
        #expect(model.goOn(until: soon) == .runs)
        #expect(!model.recover(until: soon))
    }

    @Test func aQEMUThatCannotBeWorkedWith() {
        qemu.change { $0.version = (6, 2) }
        #expect(throws: QMPError.unfit(QEMUVersion(6, 2))) { try model.check(until: soon) }
        #expect(qemu.journal.isEmpty)
    }

    @Test(arguments: [
        ("greeting", "its greeting"), ("qmp_capabilities", "an answer to qmp_capabilities"),
        ("xen-set-global-dirty-log", "an answer to xen-set-global-dirty-log"),
    ])
    func faultsOfTheLog(_ step: String, _ waitedFor: String) throws {
        qemu.change { $0.faults = [step: .hang] }
        #expect(throws: QMPError.late(waitedFor)) { try model.logWrites(true, until: hardly) }
        qemu.wake()
        for fault in [ScriptedQEMU.Fault.close, .closeAfter] {
            qemu.change { $0.faults = [step: fault] }
            #expect(throws: QMPError.closed(waitedFor)) { try model.logWrites(true, until: soon) }
        }
        for fault in [ScriptedQEMU.Fault.garbage, .endless] {
            qemu.change { $0.faults = [step: fault] }
            #expect(throws: QMPError.garbled(waitedFor)) { try model.logWrites(true, until: soon) }
        }
        qemu.wake()
        try model.logWrites(true, until: soon)
        #expect(qemu.read(\.logsWrites))
    }

    @Test func aRefusalIsAnAnswer() throws {
        qemu.change { $0.faults = ["xen-set-global-dirty-log": .refuse] }
        #expect(throws: QMPError.refused(.logWrites(true), "not now")) {
            try model.logWrites(true, until: soon)
        }
        qemu.wake()
        try model.logWrites(true, until: soon)
    }

    // MARK: After a death

    @Test func devicesThatADeadProcessStoppedGoOn() throws {
        qemu.change {
            $0.isRunning = false
            $0.logsWrites = true
        }
        #expect(model.recover(until: soon))
        #expect(qemu.read(\.isRunning))
        try model.logWrites(false, until: soon)
        #expect(!qemu.read(\.logsWrites))
        #expect(qemu.journal.filter { $0 != "qmp_capabilities" }.prefix(2) == ["query-status", "cont"])
    }

    @Test func devicesThatRunAreLeftAlone() {
        #expect(!model.recover(until: soon))
        #expect(qemu.journal == ["qmp_capabilities", "query-status"])
    }

    @Test func aQEMUThatIsSilentKeepsNobody() {
        qemu.change { $0.faults = ["query-status": .hang] }
        #expect(!model.recover(until: hardly))
    }

    @Test func aProcessDiesWithTheDevicesStoppedAndTheNextPutsThemRight() throws {
        do {
            let dead = try DeviceModel(of: 7, folder: qemu.folder)
            try dead.begin()
            while !dead.isReady { dead.advance() }
            dead.stopAndSave()
            while !dead.isSaved { dead.advance() }
        }
        #expect(!qemu.read(\.isRunning))
        #expect(model.recover(until: soon))
        #expect(qemu.read(\.isRunning))
    }

    // MARK: xenstore

    @Test func whatItHasInXenstoreTravelsAsLibxlHasIt() {
        let root = "/local/domain/0/device-model/7/physmap/f0000000"
        let store = FakeStore(values: [
            "\(root)/start_addr": "f0000000", "\(root)/size": "800000", "\(root)/name": "vga.vram",
            "/local/domain/0/device-model/7/state": "running",
        ])
        let text = String(decoding: DeviceModelKeys.content(of: 7, store) ?? [], as: UTF8.self)
        #expect(
            text == "physmap/f0000000/start_addr\0f0000000\0physmap/f0000000/size\0800000\0"
                + "physmap/f0000000/name\0vga.vram\0"
        )
        #expect(DeviceModelKeys.content(of: 8, store) == [])
    }

    @Test func whatItHasInXenstoreHasABound() {
        let store = FakeStore(values: [
            "/local/domain/0/device-model/7/physmap/0/name": String(repeating: "x", count: 70_000)
        ])
        #expect(DeviceModelKeys.content(of: 7, store) == nil)
    }

    @Test func deviceModelsOfOtherKinds() {
        func refusal(_ values: [String: String]) -> String? {
            DeviceModel.refusal(of: 7, FakeStore(values: values))
        }
        let version = "/libxl/7/dm-version"
        #expect(refusal([version: "qemu_xen"]) == nil)
        #expect(refusal([version: "qemu_xen_traditional"])?.contains("qemu_xen_traditional") == true)
        #expect(refusal([:])?.contains("only qemu_xen") == true)
        let stub = [version: "qemu_xen", "/local/domain/7/image/device-model-domid": "8"]
        #expect(refusal(stub)?.contains("domain 8") == true)
    }
}
