import Glibc

/// What the network is told about a NIC that has moved: which port its hardware address is at now, and which
/// protocol addresses are behind it.
package struct Announcement: Equatable, Sendable {
    /// The host's interface of the NIC: `vif7.0`.
    package let interface: String
    /// The NIC's hardware address, 6 bytes.
    package let hardwareAddress: [UInt8]
    /// IPv4 addresses, 4 bytes each.
    package let ipv4: [[UInt8]]
    /// IPv6 addresses, 16 bytes each.
    package let ipv6: [[UInt8]]

    /// - Parameters:
    ///   - mac: as in `00:16:3e:11:22:33`.
    ///   - addresses: numeric, IPv4 or IPv6; what is neither is left out. A prefix length may follow a slash.
    /// - Returns: nil if `mac` is no hardware address of one NIC.
    package init?(interface: String, mac: String, addresses: [String] = []) {
        let parts = mac.split(separator: ":", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { $0.count <= 2 ? UInt8($0, radix: 16) : nil }
        guard parts.count == 6, bytes.count == 6, bytes[0] & 1 == 0 else { return nil }
        self.interface = interface
        hardwareAddress = bytes
        let numeric = addresses.map { String($0.prefix { $0 != "/" }) }
        ipv4 = numeric.compactMap { Self.parse($0, AF_INET, count: 4) }
        ipv6 = numeric.compactMap { Self.parse($0, AF_INET6, count: 16) }
    }

    private static func parse(_ text: String, _ family: Int32, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    /// The Ethernet frames of one round.
    package var frames: [[UInt8]] {
        [AnnouncementFrames.reverseARP(hardwareAddress)]
            + ipv4.map { AnnouncementFrames.gratuitousARP(hardwareAddress, $0) }
            + ipv6.map { AnnouncementFrames.neighbourAdvertisement(hardwareAddress, $0) }
    }
}

/// The frames that announce a NIC, without their checksum, at least 60 bytes long.
package enum AnnouncementFrames {
    private static let broadcast = [UInt8](repeating: 0xff, count: 6)

    /// For switches: a request for the NIC's own address (RFC 903, operation 3), which nobody needs to answer.
    package static func reverseARP(_ mac: [UInt8]) -> [UInt8] {
        let nobody: [UInt8] = [0, 0, 0, 0]
        return frame(to: broadcast, from: mac, type: 0x8035, arp(3, mac, nobody, mac, nobody))
    }

    /// For neighbours: an ARP announcement (RFC 5227, section 2.3): a request for one's own address.
    package static func gratuitousARP(_ mac: [UInt8], _ address: [UInt8]) -> [UInt8] {
        let nobody = [UInt8](repeating: 0, count: 6)
        return frame(to: broadcast, from: mac, type: 0x0806, arp(1, mac, address, nobody, address))
    }

    /// For neighbours: an unsolicited Neighbour Advertisement to all nodes, which overrides what they know (RFC 4861,
    /// sections 4.4 and 7.2.6).
    package static func neighbourAdvertisement(_ mac: [UInt8], _ address: [UInt8]) -> [UInt8] {
        let allNodes: [UInt8] = [0xff, 2] + [UInt8](repeating: 0, count: 13) + [1]
        // Type 136, checksum to come, flag O, target, option 2 (target's link-layer address) of 8 bytes.
        var message: [UInt8] = [136, 0, 0, 0, 0x20, 0, 0, 0] + address + [2, 1] + mac
        let pseudo = address + allNodes + [0, 0, 0, UInt8(message.count), 0, 0, 0, 58]
        let sum = checksum(pseudo + message)
        message[2] = UInt8(sum >> 8)
        message[3] = UInt8(sum & 0xff)
        // Version 6, next header ICMPv6, hop limit 255 (RFC 8200, section 3).
        let header: [UInt8] = [0x60, 0, 0, 0, 0, UInt8(message.count), 58, 255] + address + allNodes
        return frame(to: [0x33, 0x33, 0, 0, 0, 1], from: mac, type: 0x86dd, header + message)
    }

    /// RFC 826: Ethernet, IPv4, operation, sender, target.
    private static func arp(
        _ operation: UInt8,
        _ senderMAC: [UInt8],
        _ sender: [UInt8],
        _ targetMAC: [UInt8],
        _ target: [UInt8]
    ) -> [UInt8] {
        [0, 1, 8, 0, 6, 4, 0, operation] + senderMAC + sender + targetMAC + target
    }

    private static func frame(to: [UInt8], from: [UInt8], type: UInt16, _ body: [UInt8]) -> [UInt8] {
        let frame = to + from + [UInt8(type >> 8), UInt8(type & 0xff)] + body
        return frame + [UInt8](repeating: 0, count: max(0, 60 - frame.count))
    }

    /// RFC 1071; of an even number of bytes.
    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count - 1, by: 2) {
            sum += UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1])
        }
        while sum > 0xffff { sum = (sum & 0xffff) + sum >> 16 }
        return ~UInt16(sum)
    }
}
