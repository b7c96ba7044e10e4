/// What the kernel does to make an interface a bridge's port, over netlink or in a test's model of it. One thread at a time.
package protocol BridgeKernel: AnyObject {
    /// The interface of a name; nil if there is none.
    func interface(named name: String) throws(NetlinkError) -> PortState?
    /// Carries out one order on the interface of an index.
    func perform(_ order: PortOrder, on interface: Int32) throws(NetlinkError)
}

/// An interface as far as it matters to a bridge.
package struct PortState: Equatable, Sendable {
    package var index: Int32
    /// `bridge` is what another may be put into; a vif or tap says something else, or nothing.
    package var kind: String
    package var isUp: Bool
    /// The bridge it is in, 0 if none.
    package var master: Int32
    /// Bytes.
    package var mtu: UInt32

    package init(index: Int32, kind: String = "", isUp: Bool = false, master: Int32 = 0, mtu: UInt32 = 1500) {
        self.index = index
        self.kind = kind
        self.isUp = isUp
        self.master = master
        self.mtu = mtu
    }
}

/// One order about an interface.
package enum PortOrder: Equatable, Sendable {
    /// A hardware address and a name can only be given to one that is down.
    case down
    case rename(String)
    case address([UInt8])
    case mtu(UInt32)
    /// The host gives itself no IPv6 address there (IN6_ADDR_GEN_MODE_NONE of linux/if_link.h).
    case noAddresses
    /// Into the bridge of an index, and up.
    case enter(Int32)
    /// Out of its bridge, and down.
    case leave

    package func request(for interface: Int32) throws(NetlinkError) -> [UInt8] {
        switch self {
        case .down: try NetlinkRequest.takeDown(interface)
        case .rename(let name): try NetlinkRequest.rename(interface, name)
        case .address(let address): try NetlinkRequest.setAddress(interface, address)
        case .mtu(let bytes): try NetlinkRequest.setMTU(interface, bytes)
        case .noAddresses: try NetlinkRequest.noAddresses(interface)
        case .enter(let bridge): try NetlinkRequest.setMaster(interface, bridge, isUp: true)
        case .leave: try NetlinkRequest.setMaster(interface, 0, isUp: false)
        }
    }

    /// What it does, in words that follow "cannot".
    var action: String {
        switch self {
        case .down: "take it down"
        case .rename(let name): "name it \(name)"
        case .address: "give it its hardware address"
        case .mtu(let bytes): "give it the MTU \(bytes)"
        case .noAddresses: "keep the host's addresses off it"
        case .enter: "put it into the bridge"
        case .leave: "take it out of its bridge"
        }
    }
}

/// The kernel itself. Needs CAP_NET_ADMIN for all that changes something.
package final class NetlinkBridgeKernel: BridgeKernel {
    private let socket: NetlinkSocket

    package init() throws(NetlinkError) { socket = try NetlinkSocket() }

    package func interface(named name: String) throws(NetlinkError) -> PortState? {
        var found: PortState?
        do throws(NetlinkError) {
            try socket.ask("find \(name)", NetlinkRequest.device(named: name)) { reply in
                found = PortState(reply) ?? found
            }
        } catch {
            if !error.isAbsence { throw error }
        }
        return found
    }

    package func perform(_ order: PortOrder, on interface: Int32) throws(NetlinkError) {
        try socket.ask(order.action, order.request(for: interface)) { _ in }
    }
}

extension PortState {
    /// Of an RTM_NEWLINK: struct ifinfomsg with index at 4 and flags at 8, then IFLA_* (linux/if_link.h).
    package init?(_ reply: NetlinkReply) {
        guard let link = NetInterface(reply) else { return nil }
        let mtu = reply.attributes(from: 16).first(4)  // IFLA_MTU
        self.init(
            index: link.index,
            kind: link.kind,
            isUp: reply.field(8, as: UInt32.self) & 1 != 0,  // IFF_UP
            master: link.master,
            mtu: mtu.map { NetlinkAttributes.number($0, at: 0, as: UInt32.self) } ?? 0
        )
    }
}
