import Testing
import XenHost

@Suite struct GuestDevicesTests {
    private func devices(_ more: [String: String] = [:]) -> GuestDevices {
        var values = [
            "/libxl/5/device/console/0/backend": "/local/domain/0/backend/console/5/0",
            "/libxl/5/device/vif/0/backend": "/local/domain/0/backend/vif/5/0",
            "/local/domain/0/backend/vif/5/0/mac": "00:16:3e:00:00:15",
        ]
        values.merge(more) { $1 }
        return GuestDevices(of: 5, FakeStore(values: values))
    }

    private let disk = [
        "/libxl/5/device/vbd/51712/backend": "/local/domain/0/backend/vbd/5/51712",
        "/local/domain/0/backend/vbd/5/51712/dev": "xvda",
        "/local/domain/0/backend/vbd/5/51712/mode": "w",
    ]

    @Test func aGuestWithANetworkCardOnly() {
        let devices = devices()
        #expect(devices.cards.count == 1)
        #expect(devices.cards.first?.interface == "vif5.0")
        #expect(devices.cards.first?.mac == "00:16:3e:00:00:15")
        #expect(devices.cards.first?.backend == 0)
        #expect(devices.disks.isEmpty)
        #expect(devices.refusals(accepted: []).isEmpty)
    }

    @Test func anEmulatedCardHasATapToo() {
        #expect(devices().cards.map(\.isEmulated) == [false])
        let emulated = devices(["/local/domain/0/backend/vif/5/0/type": "vif_ioemu"])
        #expect(emulated.cards.map(\.isEmulated) == [true])
    }

    @Test func aWritableDiskWantsToBeNamed() {
        let devices = devices(disk)
        #expect(devices.disks.map(\.name) == ["xvda"])
        #expect(devices.disks.map(\.isWritable) == [true])
        #expect(devices.refusals(accepted: []).contains { $0.contains("--unreplicated-disks xvda") })
        #expect(devices.refusals(accepted: ["xvda"]).isEmpty)
        #expect(
            devices.refusals(accepted: ["xvda", "xvdb"]).contains { $0.contains("no writable disk xvdb") }
        )
    }

    @Test func aReadOnlyDiskIsNoMatter() {
        let devices = devices(disk.merging(["/local/domain/0/backend/vbd/5/51712/mode": "r"]) { $1 })
        #expect(devices.refusals(accepted: []).isEmpty)
    }

    @Test func aCardServedByAnotherDomain() {
        let devices = devices(["/libxl/5/device/vif/1/backend": "/local/domain/4/backend/vif/5/1"])
        #expect(devices.refusals(accepted: []).contains { $0.contains("served by domain 4") })
    }

    @Test(arguments: ["pci", "9pfs", "pvcalls", "vscsi", "vusb", "vtpm", "something"])
    func whatHasStateOfItsOwn(_ kind: String) {
        let devices = devices(["/libxl/5/device/\(kind)/0/backend": "x"])
        #expect(
            devices.refusals(accepted: []) == [
                "its device \(kind) 0 has state that is not replicated: detach it first"
            ]
        )
    }

    @Test func aChannelIsAConsoleBeyondTheFirst() {
        let devices = devices(["/libxl/5/device/console/1/backend": "x"])
        #expect(devices.others == ["channel 1"])
    }

    @Test func nestedVirtualisationStandsInTheConfiguration() {
        func refusals(_ text: String) -> [String] { GuestRefusals.features(named: Array(text.utf8)) }
        #expect(refusals(#"{"b_info": {"nested_hvm": "True"}}"#).count == 1)
        #expect(refusals(#"{"b_info": {"nested_hvm": true}}"#).count == 1)
        #expect(refusals(#"{"b_info": {"nested_hvm": "False"}}"#).isEmpty)
        #expect(refusals(#"{"b_info": {}}"#).isEmpty)
    }
}
