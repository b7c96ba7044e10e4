import NetBuffer
import Testing

/// A kernel with interfaces and bridges, which refuses what Linux refuses.
private final class ModelBridges: BridgeKernel {
    var links: [String: PortState]
    var addresses: [Int32: [UInt8]] = [:]
    var orders: [PortOrder] = []
    /// Why a kind of order fails; nil if it does not.
    var refusal: (PortOrder) -> Int32? = { _ in nil }
    /// The interface goes away while it is looked for and worked on.
    var vanishes = false

    init(_ links: [String: PortState]) { self.links = links }

    func interface(named name: String) throws(NetlinkError) -> PortState? {
        guard name.utf8.count < 16 else { throw NetlinkError("find \(name)", code: 34) }
        return links[name]
    }

    func perform(_ order: PortOrder, on interface: Int32) throws(NetlinkError) {
        orders.append(order)
        guard !vanishes, let name = links.first(where: { $0.value.index == interface })?.key,
            var port = links[name]
        else { throw NetlinkError("work", code: 19) }  // ENODEV
        if let code = refusal(order) { throw NetlinkError("work", code: code) }
        switch order {
        case .down: port.isUp = false
        case .rename(let other):
            // EBUSY, EEXIST: linux net/core/dev.c, dev_change_name.
            if port.isUp { throw NetlinkError("work", code: 16) }
            if links[other] != nil { throw NetlinkError("work", code: 17) }
            links[name] = nil
            links[other] = port
            return
        case .address(let address):
            // linux net/ethernet/eth.c, eth_prepare_mac_addr_change.
            if port.isUp { throw NetlinkError("work", code: 16) }
            addresses[interface] = address
        case .mtu(let bytes): port.mtu = bytes
        case .noAddresses: break
        case .enter(let bridge):
            guard let host = links.first(where: { $0.value.index == bridge })?.key else {
                throw NetlinkError("work", code: 19)
            }
            // linux net/bridge/br_if.c, br_mtu_auto_adjust.
            let least = min(links[host]?.mtu ?? 0, port.mtu)
            links[host]?.mtu = least
            port.master = bridge
            port.isUp = true
        case .leave:
            port.master = 0
            port.isUp = false
        }
        links[name] = port
    }
}

@Suite struct BridgePortTests {
    private func kernel(mtu: UInt32 = 1500, up: Bool = false) -> ModelBridges {
        ModelBridges([
            "xenbr0": PortState(index: 2, kind: "bridge", isUp: true, mtu: mtu),
            "eth0": PortState(index: 1, isUp: true, master: 2),
            "vif5.0": PortState(index: 7, kind: "vif", isUp: up),
        ])
    }

    @Test func anInterfaceEntersABridgeUpAndAnonymous() throws {
        let kernel = kernel()
        #expect(try BridgePort.enter("vif5.0", bridge: "xenbr0", kernel) == 1500)
        #expect(kernel.links["vif5.0"] == PortState(index: 7, kind: "vif", isUp: true, master: 2))
        #expect(kernel.addresses[7] == [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff])
        #expect(kernel.orders == [.address(BridgePort.address), .noAddresses, .enter(2)])
    }

    @Test func aBridgeOfJumboFramesStaysOne() throws {
        let kernel = kernel(mtu: 9000)
        #expect(try BridgePort.enter("vif5.0", bridge: "xenbr0", kernel) == 9000)
        #expect(kernel.links["vif5.0"]?.mtu == 9000 && kernel.links["xenbr0"]?.mtu == 9000)
    }

    @Test func theConfigurationsMTUComesFirst() throws {
        let kernel = kernel(mtu: 9000)
        #expect(try BridgePort.enter("vif5.0", bridge: "xenbr0", mtu: 1400, kernel) == 1400)
        #expect(kernel.links["vif5.0"]?.mtu == 1400)
    }

    @Test func anMTUThatADeviceCannotHaveIsNoReasonToDoWithout() throws {
        let kernel = kernel(mtu: 9000)
        kernel.refusal = { if case .mtu = $0 { 22 } else { nil } }
        #expect(try BridgePort.enter("vif5.0", bridge: "xenbr0", kernel) == 1500)
        #expect(kernel.links["vif5.0"]?.master == 2)
    }

    @Test func aHostWithoutIPv6RefusesThatPartOnly() throws {
        let kernel = kernel()
        kernel.refusal = { $0 == .noAddresses ? 97 : nil }
        _ = try BridgePort.enter("vif5.0", bridge: "xenbr0", kernel)
        #expect(kernel.links["vif5.0"]?.master == 2)
    }

    @Test func oneThatIsUpGoesDownFirst() throws {
        let kernel = kernel(up: true)
        _ = try BridgePort.enter("vif5.0", as: "web1", bridge: "xenbr0", kernel)
        #expect(kernel.links["web1"] == PortState(index: 7, kind: "vif", isUp: true, master: 2))
        #expect(kernel.links["vif5.0"] == nil)
        #expect(kernel.orders.prefix(2) == [.down, .rename("web1")])
    }

    private func failure(_ kernel: ModelBridges, bridge: String = "xenbr0", name: String? = nil) -> String {
        do {
            _ = try BridgePort.enter("vif5.0", as: name, bridge: bridge, kernel)
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func whatStandsInTheWayIsNamed() {
        #expect(failure(kernel(), bridge: "xenbr1") == "xenbr1: this host has none of that name")
        #expect(failure(kernel(), bridge: "eth0") == "eth0: it is no bridge of the kernel's")
        #expect(failure(kernel(), name: "eth0") == "vif5.0: cannot work: File exists")
        let gone = kernel()
        gone.links["vif5.0"] = nil
        #expect(failure(gone) == "vif5.0: this host has none of that name")
        let full = kernel()
        full.refusal = { if case .enter = $0 { 7 } else { nil } }
        #expect(failure(full) == "vif5.0: cannot work: Argument list too long")
    }

    @Test func oneLeavesItsBridge() throws {
        let kernel = kernel(up: true)
        kernel.links["vif5.0"]?.master = 2
        try BridgePort.leave("vif5.0", kernel)
        #expect(kernel.links["vif5.0"] == PortState(index: 7, kind: "vif"))
    }

    @Test func oneThatIsGoneHasLeft() throws {
        let kernel = kernel()
        try BridgePort.leave("vif9.0", kernel)
        kernel.vanishes = true
        try BridgePort.leave("vif5.0", kernel)
        kernel.vanishes = false
        kernel.refusal = { _ in 1 }
        #expect(throws: BridgePortError.self) { try BridgePort.leave("vif5.0", kernel) }
    }
}

/// RTM_NEWLINK, a request to be acknowledged, that makes nothing; struct ifinfomsg with the device 7.
private let change = "10000500" + "0000000000000000" + "00000000" + "07000000"
private let sameFlags = "00000000" + "00000000"

/// What goes to the kernel, byte by byte: linux/netlink.h, rtnetlink.h, if_link.h.
@Suite struct PortOrderTests {
    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test(arguments: [
        (PortOrder.down, "20000000" + change + "00000000" + "01000000"),
        // IFLA_IFNAME
        (
            .rename("web1"),
            "2c000000" + change + sameFlags + "09000300" + "7765623100" + "000000"
        ),
        // IFLA_ADDRESS
        (
            .address([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]),
            "2c000000" + change + sameFlags + "0a000100" + "feffffffffff" + "0000"
        ),
        // IFLA_MTU
        (.mtu(9000), "28000000" + change + sameFlags + "08000400" + "28230000"),
        // IFLA_AF_SPEC, AF_INET6, IFLA_INET6_ADDR_GEN_MODE: none
        (
            .noAddresses,
            "30000000" + change + sameFlags + "10001a80" + "0c000a80" + "05000800" + "01000000"
        ),
        // IFF_UP; IFLA_MASTER
        (.enter(3), "28000000" + change + "01000000" + "01000000" + "08000a00" + "03000000"),
        (.leave, "28000000" + change + "00000000" + "01000000" + "08000a00" + "00000000"),
    ])
    func orders(order: PortOrder, request: String) throws {
        #expect(hex(try order.request(for: 7)) == request)
    }

    @Test func readsAPort() {
        // An RTM_NEWLINK: device 7, up (1) and more; IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO with its kind.
        let bytes: [UInt8] =
            [76, 0, 0, 0, 16, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]
            + [0, 0, 1, 0, 7, 0, 0, 0, 3, 16, 0, 0, 0, 0, 0, 0]
            + [11, 0, 3, 0] + Array("xenbr0".utf8) + [0, 0]
            + [8, 0, 4, 0, 0x28, 0x23, 0, 0]
            + [8, 0, 10, 0, 2, 0, 0, 0]
            + [16, 0, 18, 128, 11, 0, 1, 0] + Array("bridge".utf8) + [0, 0]
        var found: [PortState?] = []
        bytes.withUnsafeBytes {
            var reader = NetlinkReader($0)
            while let reply = reader.next() { found.append(PortState(reply)) }
        }
        #expect(
            found == [PortState(index: 7, kind: "bridge", isUp: true, master: 2, mtu: 9000)]
        )
    }
}
