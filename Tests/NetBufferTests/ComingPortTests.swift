import Checkpoint
import NetBuffer
import Testing

/// Interfaces that come and go while their guest is protected.
@Suite struct ComingPortTests {
    let kernel = ModelKernel(["vif5.0", "vif5.1"])
    let first = GuestPort(interface: "vif5.0", device: 0)
    let second = GuestPort(interface: "vif5.1", device: 1)
    let third = GuestPort(interface: "vif5.2", device: 2)

    func makePlug(_ ports: [GuestPort]? = nil) throws -> NetworkPlug {
        try NetworkPlug(
            guest: "web1",
            domain: 5,
            ports: ports ?? [first, second],
            limit: 1000,
            kernel: kernel
        )
    }

    func sent(_ name: String) -> [Int] { kernel.ports[name].flatMap { kernel.sent[$0] } ?? [] }

    @Test func oneThatComesWhileOutputIsHeldIsHeldWithTheRunningEpoch() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        try plug.release(epoch: 0)
        try plug.cut(epoch: 1)
        kernel.addPort("vif5.2")
        kernel.send(1, "vif5.2")
        #expect(try plug.join(third) == 1)
        #expect(try plug.join(third) == nil)
        kernel.send(2, "vif5.2")
        // Epoch 1 was cut before it came.
        try plug.release(epoch: 1)
        #expect(sent("vif5.2") == [1])
        try plug.cut(epoch: 2)
        kernel.send(3, "vif5.2")
        try plug.release(epoch: 2)
        #expect(sent("vif5.2") == [1, 2])
        let calls = kernel.calls
        try plug.cut(epoch: 3)
        try plug.release(epoch: 3)
        #expect(kernel.calls == calls + 2, "the steady state has all ports in one exchange again")
        #expect(sent("vif5.2") == [1, 2, 3])
    }

    @Test func oneThatComesWhileOutputPassesIsClosedWithTheOthers() throws {
        let plug = try makePlug()
        kernel.addPort("vif5.2")
        #expect(try plug.join(third) == nil)
        kernel.send(1, "vif5.2")
        try plug.cut(epoch: 0)
        kernel.send(2, "vif5.2")
        #expect(sent("vif5.2") == [1])
        try plug.releaseAll()
        #expect(sent("vif5.2") == [1, 2])
    }

    @Test func oneThatComesToAnOutdatedCopyIsDropped() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        try plug.dropAll()
        kernel.addPort("vif5.2")
        _ = try plug.join(third)
        kernel.send(1, "vif5.2")
        #expect(sent("vif5.2").isEmpty)
        #expect(plug.heldBytes() == 0)
    }

    @Test func oneThatIsNotThereYetIsAskedForAgain() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        #expect(try plug.join(third) == nil)
        #expect(plug.interfaces.count == 2)
    }

    @Test func aSuccessorClosesWhatCameWhenNobodyWasThere() throws {
        let predecessor = try makePlug()
        try predecessor.cut(epoch: 0)
        kernel.send(1, "vif5.0")
        kernel.addPort("vif5.2")
        kernel.send(2, "vif5.2")
        let plug = try makePlug([first, second, third])
        #expect(plug.wasClosed)
        #expect(plug.foundOpen == ["vif5.2"])
        kernel.send(3, "vif5.2")
        #expect(sent("vif5.2") == [2])
        try plug.absorb()
        try plug.cut(epoch: 0)
        try plug.release(epoch: 0)
        #expect(sent("vif5.2") == [2, 3])
        #expect(sent("vif5.0") == [1])
        withExtendedLifetime(predecessor) {}
    }

    @Test func anInterfaceThatIsTakenAwayIsEmptiedAndTheOthersGoOn() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        try plug.release(epoch: 0)
        kernel.send(1, "vif5.0")
        kernel.send(2, "vif5.1")
        try plug.cut(epoch: 1)
        kernel.send(3, "vif5.1")
        try plug.empty("vif5.1")
        #expect(kernel.lost == [2, 3])
        #expect(plug.drops == 2)
        kernel.send(4, "vif5.1")
        try plug.release(epoch: 1)
        #expect(sent("vif5.0") == [1])
        #expect(sent("vif5.1").isEmpty, "what comes afterwards is of the running epoch")
        try plug.cut(epoch: 2)
        try plug.release(epoch: 2)
        #expect(sent("vif5.1") == [4])
    }

    @Test func oneThatIsGoneIsForgottenAndMayComeAgain() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        kernel.send(1, "vif5.1")
        #expect(try !plug.forget("vif5.1"))
        kernel.ports["vif5.1"] = nil
        #expect(try plug.forget("vif5.1"))
        #expect(plug.interfaces == [first])
        #expect(kernel.lost == [1])
        #expect(!kernel.devices.values.contains { $0.alias == "vif5.1" })
        try plug.release(epoch: 0)
        kernel.addPort("vif5.1")
        #expect(try plug.join(second) == 0)
        try plug.cut(epoch: 1)
        kernel.send(2, "vif5.1")
        try plug.release(epoch: 1)
        #expect(sent("vif5.1").isEmpty)
    }

    /// Another interface of the same name, before the first one's end was noticed.
    @Test func whatIsHeldOfTheFormerOneIsNotTheNewOnes() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        kernel.send(1, "vif5.1")
        kernel.ports["vif5.1"] = nil
        kernel.addPort("vif5.1")
        #expect(try plug.join(second) == 0)
        kernel.send(2, "vif5.1")
        try plug.release(epoch: 0)
        try plug.cut(epoch: 1)
        try plug.release(epoch: 1)
        #expect(sent("vif5.1") == [2])
        #expect(kernel.lost == [1])
    }

    @Test func aPlugThatNobodyLooksAfterIsSilenced() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        for packet in 1...5 { kernel.send(packet, packet < 4 ? "vif5.0" : "vif5.1") }
        let others = try PlugSurvey.silence(kernel, domain: 6) { _ in true }
        #expect(others.isEmpty)
        let silenced = try PlugSurvey.silence(kernel, domain: 5) { $0 == "vif5.0" }
        #expect(silenced.map(\.interface) == ["vif5.0"] && silenced.map(\.packets) == [3])
        kernel.send(6, "vif5.0")
        try plug.release(epoch: 0)
        #expect(sent("vif5.0").isEmpty)
        #expect(plug.heldBytes() == 2)
    }

    @Test func howFullItIsGoesByTheFullestInterface() throws {
        let small = GuestPort(interface: "vif5.1", device: 1, limit: 10)
        let plug = try makePlug([first, small])
        try plug.cut(epoch: 0)
        for packet in 1...6 { kernel.send(packet, "vif5.1") }
        #expect(plug.held() == HeldOutput(bytes: 6, packets: 6, dropped: 0, fillPercent: 60))
        for packet in 7...20 { kernel.send(packet, "vif5.1") }
        #expect(plug.held() == HeldOutput(bytes: 10, packets: 10, dropped: 10, fillPercent: 100))
    }
}

@Suite struct HoldLimitTests {
    @Test func goesByRateAndInterval() {
        // 100 Mbit/s, 100 ms: 1.25 MB an epoch, four times that.
        #expect(HoldLimit.bytes(rate: 12_500_000, interval: 100_000_000) == 5_000_000)
        #expect(HoldLimit.bytes(rate: 1000, interval: 50_000_000) == HoldLimit.least)
        #expect(HoldLimit.bytes(rate: nil, interval: 50_000_000) == HoldLimit.most)
        #expect(HoldLimit.bytes(rate: .max, interval: .max) == HoldLimit.most)
    }
}
