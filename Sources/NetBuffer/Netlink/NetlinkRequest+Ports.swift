import CNetlink
import Glibc

/// What is asked of the kernel about an interface that is to be a bridge's port.
extension NetlinkRequest {
    package static func rename(_ index: Int32, _ name: String) throws(NetlinkError) -> [UInt8] {
        try change(index, "name interface \(index)") { rtnl_link_set_name($0, name) }
    }

    package static func setMTU(_ index: Int32, _ bytes: UInt32) throws(NetlinkError) -> [UInt8] {
        try change(index, "give interface \(index) an MTU") { rtnl_link_set_mtu($0, bytes) }
    }

    package static func setAddress(_ index: Int32, _ address: [UInt8]) throws(NetlinkError) -> [UInt8] {
        guard let built = nl_addr_build(AF_UNSPEC, address, address.count) else {
            throw NetlinkError("give interface \(index) a hardware address", code: -NLE_NOMEM)
        }
        // What it is set in keeps a reference of its own.
        defer { nl_addr_put(built) }
        return try change(index, "give interface \(index) a hardware address") {
            rtnl_link_set_addr($0, built)
        }
    }

    /// Into a bridge or, with 0, out of any; then up or down.
    package static func setMaster(
        _ index: Int32,
        _ bridge: Int32,
        isUp: Bool
    ) throws(NetlinkError) -> [UInt8] {
        try change(index, "put interface \(index) into a bridge, or out") { link in
            rtnl_link_set_master(link, bridge)
            if isUp { rtnl_link_set_flags(link, 1) } else { rtnl_link_unset_flags(link, 1) }  // IFF_UP
        }
    }

    /// The host makes no IPv6 address for itself there.
    package static func noAddresses(_ index: Int32) throws(NetlinkError) -> [UInt8] {
        // struct ifinfomsg: index at 4; IFLA_AF_SPEC (26) with AF_INET6 (10) in it, IFLA_INET6_ADDR_GEN_MODE (8), one byte:
        // IN6_ADDR_GEN_MODE_NONE, 1 (linux/if_link.h). Both outer ones with NLA_F_NESTED.
        var fixed = [UInt8](repeating: 0, count: 16)
        fixed.withUnsafeMutableBytes { $0.storeBytes(of: index, toByteOffset: 4, as: Int32.self) }
        fixed += [16, 0, 26, 0x80, 12, 0, 10, 0x80, 5, 0, 8, 0, 1, 0, 0, 0]
        // RTM_NEWLINK of linux/rtnetlink.h.
        return try plain(type: 16, flags: 0, fixed: fixed)
    }
}
