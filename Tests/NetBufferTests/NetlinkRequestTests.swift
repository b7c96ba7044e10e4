import NetBuffer
import Testing

/// What goes to the kernel, byte by byte: linux/netlink.h, rtnetlink.h, pkt_sched.h, pkt_cls.h, tc_act/tc_mirred.h.
@Suite struct NetlinkRequestTests {
    func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// RTM_NEWQDISC without NLM_F_CREATE: a change; device 7, handle 1:, at the root.
    static let change = "3c000000" + "2400" + "0500" + "00000000" + "00000000"
    static let plug =
        "00000000" + "07000000" + "00000100" + "ffffffff" + "00000000"
        // TCA_KIND "plug"
        + "0900" + "0100" + "706c756700" + "000000"

    @Test(arguments: [
        // TCA_OPTIONS: struct tc_plug_qopt, action and limit
        (PlugOrder.cut(7), "0c000280" + "00000000" + "00000000"),
        (.releaseOne(7), "0c000280" + "01000000" + "00000000"),
        (.open(7), "0c000280" + "02000000" + "00000000"),
        (.limit(7, bytes: 10_000_000), "0c000280" + "03000000" + "80969800"),
    ])
    func plugOrders(order: PlugOrder, options: String) throws {
        #expect(hex(try order.request()) == Self.change + Self.plug + options)
    }

    @Test func aNewPlug() throws {
        // NLM_F_REQUEST, ACK, EXCL, CREATE. Options of zeros: buffering, limit 0.
        #expect(
            hex(try NetlinkRequest.makePlug(on: 7))
                == "3c00000024000506" + "0000000000000000" + Self.plug + "0c000280" + "0000000000000000"
        )
    }

    @Test func aRedirectionOfEveryEthertype() throws {
        #expect(
            hex(try NetlinkRequest.redirect(from: 3, to: 7, priority: 256, manner: .asIs))
                // RTM_NEWTFILTER, created; interface 3, handle 7, parent ffff:, priority 256, ETH_P_ALL
                == "800000002c000506" + "0000000000000000"
                + "00000000" + "03000000" + "07000000" + "0000ffff" + "00030001"
                + "0d000100" + "6d61746368616c6c00" + "000000"
                // TCA_OPTIONS, TCA_MATCHALL_ACT, first action: TCA_ACT_KIND "mirred"
                + "4c000280" + "08000100" + "00000000" + "08000300" + "00000000"
                + "38000280" + "34000180" + "0b000100" + "6d697272656400" + "00"
                // TCA_ACT_OPTIONS, TCA_MIRRED_PARMS: TC_ACT_STOLEN, TCA_EGRESS_REDIR, device 7
                + "24000280" + "20000200"
                + "00000000" + "00000000" + "04000000" + "00000000" + "00000000" + "01000000" + "07000000"
        )
    }

    @Test func aRedirectionOfCopies() throws {
        let request = try NetlinkRequest.redirect(from: 3, to: 7, priority: 256, manner: .copied)
        #expect(hex(try PlugOrder.redirect(interface: 3, device: 7, priority: 256).request()) == hex(request))
        let plain = try NetlinkRequest.redirect(from: 3, to: 7, priority: 256, manner: .asIs)
        let (copying, moving) = (hex(request), hex(plain))
        // TCA_MIRRED_PARMS: TC_ACT_PIPE instead of TC_ACT_STOLEN.
        let policy = "20000200" + "00000000" + "00000000"
        #expect(moving.contains(policy + "04000000"))
        #expect(copying.contains(policy + "03000000"))
        // The second action: "gact", TCA_GACT_PARMS with TC_ACT_STOLEN, and no device.
        let drop = "0900" + "0100" + "6761637400" + "000000"
        #expect(copying.contains(drop) && !moving.contains(drop))
        let stolen = "18000200" + "0000000000000000" + "04000000" + "0000000000000000"
        #expect(copying.hasSuffix(stolen))
    }

    @Test func aDeviceThatGoesDown() throws {
        // RTM_NEWLINK; struct ifinfomsg: device 7, no flags, of those that change IFF_UP.
        let down = hex(try NetlinkRequest.takeDown(7))
        let up = hex(try NetlinkRequest.bringUp(7))
        let device = "00000000" + "07000000"
        let (noFlags, isUp) = (device + "0000000001000000", device + "0100000001000000")
        #expect(down.dropFirst(8).hasPrefix("1000"))
        #expect(down.dropFirst(32).hasPrefix(noFlags))
        #expect(up.dropFirst(32).hasPrefix(isUp))
    }

    @Test func theEndOfARedirection() throws {
        let order = PlugOrder.endRedirect(interface: 3, priority: 256)
        #expect(
            hex(try order.request())
                == "340000002d000500" + "0000000000000000"
                + "00000000" + "03000000" + "00000000" + "0000ffff" + "00030001"
                + "0d000100" + "6d61746368616c6c00" + "000000"
        )
    }

    @Test func anIngressQdisc() throws {
        #expect(
            hex(try NetlinkRequest.makeIngress(on: 3))
                == "3000000024000506" + "0000000000000000"
                + "00000000" + "03000000" + "0000ffff" + "f1ffffff" + "00000000"
                + "0c000100" + "696e677265737300"
        )
    }

    @Test func aDevice() throws {
        #expect(
            hex(try NetlinkRequest.makeDevice("rmd5.0a"))
                == "4000000010000506" + "0000000000000000" + "00000000000000000000000000000000"
                // IFLA_TXQLEN, IFLA_IFNAME, IFLA_LINKINFO with IFLA_INFO_KIND
                + "08000d00" + "e8030000" + "0c000300" + "726d64352e306100"
                + "0c001280" + "08000100" + "69666200"
        )
    }

    @Test func aDevicesNameIsNotGivenWhileItIsMade() throws {
        #expect(
            hex(try NetlinkRequest.name(7, alias: "vif5.0"))
                == "2c00000010000500" + "0000000000000000" + "00000000" + "07000000" + "0000000000000000"
                // IFLA_IFALIAS
                + "0b001400" + "766966352e3000" + "00"
        )
    }

    @Test func aBatchIsItsRequestsBackToBack() throws {
        let orders = [PlugOrder.cut(7), .releaseOne(8)]
        let batch = try PlugBatch(orders)
        #expect(batch.bytes == (try orders[0].request()) + (try orders[1].request()))
        #expect(batch.failure?.code == 110)
    }
}

@Suite struct NetlinkReaderTests {
    /// An RTM_NEWLINK as the kernel sends it: a header, struct ifinfomsg, attributes.
    static let link: [UInt8] =
        [60, 0, 0, 0, 16, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]
        + [0, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        + [12, 0, 3, 0] + Array("rmd5.0a".utf8) + [0]
        + [12, 0, 18, 128, 8, 0, 1, 0] + Array("ifb".utf8) + [0]
        + [4, 0, 99, 0]

    func replies(_ bytes: [UInt8], _ body: (NetlinkReply) -> Void) {
        bytes.withUnsafeBytes {
            var reader = NetlinkReader($0)
            while let reply = reader.next() { body(reply) }
        }
    }

    @Test func readsALink() {
        var found: [NetInterface] = []
        replies(Self.link) { NetInterface($0).map { found.append($0) } }
        #expect(found == [NetInterface(name: "rmd5.0a", index: 7, kind: "ifb", alias: "", master: 0)])
    }

    @Test func readsARefusalWithItsWords() {
        // errno 22, the request's header (capped), NLMSGERR_ATTR_MSG
        let text = Array("no such thing".utf8) + [0]
        let attribute: [UInt8] = [UInt8(4 + text.count), 0, 1, 0] + text
        let body: [UInt8] = [234, 255, 255, 255] + [UInt8](repeating: 0, count: 16) + attribute
        let header: [UInt8] = [UInt8(16 + body.count), 0, 0, 0, 2, 0, 0, 3, 5, 0, 0, 0, 0, 0, 0, 0]
        var seen: [String] = []
        replies(header + body) { seen.append("\($0.sequence) \($0.errorCode) \($0.errorDetail)") }
        #expect(seen == ["5 22 no such thing"])
    }

    @Test func anythingElseIsReadWithinItsBounds() {
        var random = SystemRandomNumberGenerator()
        for length in 0...Self.link.count {
            var bytes = Array(Self.link.prefix(length))
            for _ in 0..<3 where length > 0 {
                bytes[Int.random(in: 0..<length)] = UInt8.random(in: 0...255, using: &random)
            }
            replies(bytes) {
                _ = NetInterface($0)
                _ = PlugContents($0)
                _ = $0.errorDetail
            }
        }
    }
}
