import Checkpoint
import NetBuffer
import Testing

@Suite struct NetworkPlugTests {
    let kernel = ModelKernel(["vif5.0", "vif5.1"])

    func makePlug(limit: Int = 1000) throws -> NetworkPlug {
        try NetworkPlug(
            guest: "web1",
            domain: 5,
            ports: [
                GuestPort(interface: "vif5.0", device: 0), GuestPort(interface: "vif5.1", device: 1),
            ],
            limit: limit,
            kernel: kernel
        )
    }

    func sent(_ name: String = "vif5.0") -> [Int] { kernel.ports[name].flatMap { kernel.sent[$0] } ?? [] }

    @Test func passesUntilTheFirstCut() throws {
        let plug = try makePlug()
        kernel.send(1, "vif5.0")
        #expect(!plug.wasClosed)
        #expect(sent() == [1])
        let redirected = kernel.redirections.values.contains { !$0.isEmpty }
        #expect(!redirected)
        _ = plug
    }

    @Test func holdsFromTheFirstCutAndReleasesEpochByEpoch() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        kernel.send(1, "vif5.0")
        kernel.send(2, "vif5.1")
        #expect(plug.heldBytes() == 2)
        try plug.release(epoch: 0)
        #expect(sent().isEmpty)
        try plug.cut(epoch: 1)
        kernel.send(3, "vif5.0")
        try plug.release(epoch: 1)
        #expect(sent() == [1])
        #expect(sent("vif5.1") == [2])
        // An epoch in which nothing was sent.
        try plug.cut(epoch: 2)
        try plug.cut(epoch: 2)
        try plug.release(epoch: 2)
        #expect(sent() == [1, 3])
    }

    @Test func theSteadyStateIsOneExchangeForAllPorts() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        try plug.release(epoch: 0)
        let calls = kernel.calls
        for epoch in 1...10 as ClosedRange<UInt64> {
            try plug.cut(epoch: epoch)
            try plug.release(epoch: epoch)
        }
        #expect(kernel.calls == calls + 20)
    }

    @Test func oneClosedEpochAtATime() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        let refusal = #expect(throws: GuestError.self) { try plug.cut(epoch: 1) }
        #expect(refusal?.description == "guest web1: epoch 0 is cut and not released yet")
        #expect(throws: GuestError.self) { try plug.release(epoch: 1) }
        try plug.release(epoch: 0)
        try plug.release(epoch: 0)
        try plug.cut(epoch: 1)
        #expect(throws: GuestError.self) { try plug.release(epoch: 0) }
    }

    @Test func whatWasCutAndNeverReleasedGoesWithTheNextEpoch() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        try plug.release(epoch: 0)
        kernel.send(1, "vif5.0")
        kernel.send(2, "vif5.0")
        try plug.cut(epoch: 1)
        kernel.send(3, "vif5.0")
        try plug.absorb()
        // A count of one would let only the oldest go, and forget the other two.
        try plug.cut(epoch: 0)
        kernel.send(4, "vif5.0")
        #expect(sent().isEmpty)
        try plug.release(epoch: 0)
        #expect(sent() == [1, 2, 3])
        try plug.cut(epoch: 1)
        try plug.release(epoch: 1)
        #expect(sent() == [1, 2, 3, 4])
    }

    @Test func aSuccessorHoldsWhatItsPredecessorHeld() throws {
        let first = try makePlug()
        try first.cut(epoch: 0)
        try first.release(epoch: 0)
        kernel.send(1, "vif5.0")
        try first.cut(epoch: 1)
        kernel.send(2, "vif5.0")
        let second = try makePlug()
        #expect(second.wasClosed)
        try second.absorb()
        kernel.send(3, "vif5.0")
        #expect(second.heldBytes() == 3)
        try second.cut(epoch: 0)
        kernel.send(4, "vif5.0")
        #expect(sent().isEmpty)
        try second.release(epoch: 0)
        #expect(sent() == [1, 2, 3])
        try second.cut(epoch: 1)
        try second.release(epoch: 1)
        #expect(sent() == [1, 2, 3, 4])
        #expect(kernel.lost.isEmpty)
        withExtendedLifetime(first) {}
    }

    @Test func openingLetsEverythingGoAndLeavesNothing() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        kernel.send(1, "vif5.0")
        try plug.releaseAll()
        kernel.send(2, "vif5.0")
        #expect(sent() == [1, 2])
        let next = try makePlug()
        #expect(!next.wasClosed)
        next.close()
        plug.close()
        #expect(kernel.devices.isEmpty)
        #expect(kernel.ingress.isEmpty)
        #expect(kernel.lost.isEmpty)
    }

    @Test func nothingOvertakesWhatIsHeldWhenAPlugOpens() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        for packet in 1...3 { kernel.send(packet, "vif5.0") }
        var packet = 3
        kernel.afterOrder = { _ in
            packet += 1
            self.kernel.send(packet, "vif5.0")
        }
        kernel.isSlow = true
        try plug.releaseAll()
        _ = plug.held()
        kernel.send(packet + 1, "vif5.0")
        // A survey, and a successor, see an open port, although what it sends still takes the way of what was held.
        let devices = try PlugSurvey.list(kernel)
        #expect(devices.allSatisfy { !$0.isRedirected })
        kernel.settle()
        kernel.afterOrder = { _ in }
        _ = plug.held()
        kernel.send(packet + 2, "vif5.0")
        kernel.settle()
        #expect(sent() == Array(1...(packet + 2)))
        _ = plug.held()
        #expect(kernel.redirections.values.allSatisfy { $0.isEmpty })
        #expect(kernel.lost.isEmpty)
    }

    @Test func aSuccessorOfOneThatWasOpeningGoesOnOpen() throws {
        let first = try makePlug()
        try first.cut(epoch: 0)
        kernel.send(1, "vif5.0")
        kernel.isSlow = true
        try first.releaseAll()
        kernel.kill()
        kernel.revive()
        let second = try makePlug()
        #expect(!second.wasClosed)
        kernel.send(2, "vif5.0")
        kernel.settle()
        kernel.isSlow = false
        try second.cut(epoch: 0)
        kernel.send(3, "vif5.0")
        #expect(sent() == [1, 2])
        try second.release(epoch: 0)
        try second.cut(epoch: 1)
        try second.release(epoch: 1)
        #expect(sent() == [1, 2, 3])
        #expect(kernel.lost.isEmpty)
        withExtendedLifetime(first) {}
    }

    @Test func anOpenedPlugMayCloseAgain() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        try plug.releaseAll()
        _ = plug.heldBytes()
        try plug.cut(epoch: 0)
        kernel.send(1, "vif5.0")
        #expect(sent().isEmpty)
        try plug.release(epoch: 0)
        try plug.cut(epoch: 1)
        try plug.release(epoch: 1)
        #expect(sent() == [1])
    }

    @Test func droppingDropsWhatIsHeldAndWhatComes() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        kernel.send(1, "vif5.0")
        try plug.dropAll()
        kernel.send(2, "vif5.0")
        #expect(plug.heldBytes() == 0)
        #expect(throws: GuestError.self) { try plug.cut(epoch: 1) }
        #expect(sent().isEmpty)
        #expect(plug.drops == 2)
        try plug.releaseAll()
        kernel.send(3, "vif5.0")
        #expect(sent() == [3])
    }

    @Test func aFullPlugDropsAndSaysSo() throws {
        let plug = try makePlug(limit: 2)
        try plug.cut(epoch: 0)
        for packet in 1...5 { kernel.send(packet, "vif5.0") }
        #expect(plug.heldBytes() == 2)
        #expect(plug.drops == 3)
    }

    @Test func aFilterOfSomebodyElsesIsRefused() throws {
        kernel.foreign[10] = IngressFilter(priority: 1, kind: "flower", handle: 1)
        kernel.ingress[10] = "ingress"
        let refusal = #expect(throws: GuestError.self) { try makePlug() }
        #expect(refusal?.reason.contains("flower filter that is not remusd's") == true)
    }

    @Test func anotherIngressQdiscIsRefused() throws {
        kernel.ingress[10] = "clsact"
        let refusal = #expect(throws: GuestError.self) { try makePlug() }
        #expect(refusal?.reason.contains("clsact") == true)
    }

    @Test func aMissingInterfaceIsNamed() throws {
        kernel.ports["vif5.1"] = nil
        let refusal = #expect(throws: GuestError.self) { try makePlug() }
        #expect(refusal?.reason.contains("vif5.1") == true)
    }

    @Test func prioritiesDoNotRunOut() throws {
        let plug = try makePlug()
        for packet in 0..<600 {
            kernel.send(packet, "vif5.0")
            try plug.cut(epoch: 1)
            try plug.absorb()
            _ = plug.heldBytes()
            try plug.cut(epoch: 1)
            try plug.release(epoch: 1)
            try plug.cut(epoch: 2)
            try plug.absorb()
        }
        try plug.cut(epoch: 1)
        try plug.release(epoch: 1)
        #expect(sent() == Array(0..<600))
    }

    @Test func orphansGoAndTheLivingStay() throws {
        let plug = try makePlug()
        try plug.cut(epoch: 0)
        let none = try PlugSurvey.removeOrphans(kernel) { _ in true }
        #expect(none.isEmpty)
        let closed = try PlugSurvey.list(kernel).filter(\.isRedirected).map(\.interface)
        #expect(closed == ["vif5.0", "vif5.1"])
        kernel.ports["vif5.1"] = nil
        let removed = try PlugSurvey.removeOrphans(kernel) { _ in true }
        #expect(!removed.isEmpty && removed.allSatisfy { $0.hasPrefix("rmd5.1") })
        try PlugSurvey.removeOrphans(kernel) { $0 != 5 }
        #expect(kernel.devices.isEmpty)
    }
}
