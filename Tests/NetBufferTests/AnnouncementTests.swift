import NetBuffer
import Testing

@Suite struct AnnouncementTests {
    let announcement = Announcement(
        interface: "vif7.0",
        mac: "00:16:3e:01:02:03",
        addresses: ["10.9.0.11", "fd00:9::11/64", "none"]
    )

    func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test func aRoundHasAFrameForTheSwitchesAndOneForEachAddress() throws {
        let frames = try #require(announcement?.frames)
        #expect(frames.map(\.count) == [60, 60, 86])
        #expect(
            hex(frames[0])
                // RARP, operation 3, for its own address
                == "ffffffffffff" + "00163e010203" + "8035" + "0001080006040003"
                + "00163e010203" + "00000000" + "00163e010203" + "00000000"
                + String(repeating: "00", count: 18)
        )
        #expect(
            hex(frames[1])
                // ARP, operation 1, sender and target 10.9.0.11
                == "ffffffffffff" + "00163e010203" + "0806" + "0001080006040001"
                + "00163e010203" + "0a09000b" + "000000000000" + "0a09000b"
                + String(repeating: "00", count: 18)
        )
        #expect(
            hex(frames[2])
                // IPv6: 32 bytes of ICMPv6, hop limit 255, from the address to all nodes
                == "333300000001" + "00163e010203" + "86dd" + "60000000" + "0020" + "3a" + "ff"
                + "fd000009000000000000000000000011" + "ff020000000000000000000000000001"
                // Neighbour Advertisement with the override flag, the target, its link-layer address
                + "8800" + "1c50" + "20000000" + "fd000009000000000000000000000011" + "0201" + "00163e010203"
        )
    }

    @Test(arguments: ["", "00:16:3e:01:02", "00:16:3e:01:02:zz", "01:16:3e:01:02:03", "00:16:3e:01:02:003"])
    func whatIsNoAddressOfANICIsNotAnnounced(mac: String) {
        #expect(Announcement(interface: "vif7.0", mac: mac) == nil)
    }

    @Test func injectionRedirectsToTheIngress() throws {
        let request = try NetlinkRequest.inject(from: 9, into: 4)
        // TCA_INGRESS_REDIR, device 4
        #expect(hex(request).hasSuffix("0300000004000000"))
        // parent ffff:fff3, the egress of a clsact
        #expect(
            hex(Array(request[16..<36])) == "00000000" + "09000000" + "04000000" + "f3ffffff" + "00030100"
        )
    }
}
