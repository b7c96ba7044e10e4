import Glibc
import SystemSupport

/// The kernel's plugs, over a netlink socket. Needs CAP_NET_ADMIN for all that changes something.
final class NetlinkPlugKernel: PlugKernel {
    private let socket: NetlinkSocket

    init() throws(NetlinkError) { socket = try NetlinkSocket() }

    func interfaces() throws(NetlinkError) -> [NetInterface] {
        var result: [NetInterface] = []
        try socket.ask("list the network interfaces", NetlinkRequest.devices()) { reply in
            if let interface = NetInterface(reply) { result.append(interface) }
        }
        return result
    }

    func makeDevice(_ name: String, alias: String, limit: Int32) throws(NetlinkError) -> Int32 {
        try order("make \(name)", NetlinkRequest.makeDevice(name))
        var index: Int32 = 0
        try socket.ask("find \(name)", NetlinkRequest.device(named: name)) {
            index = NetInterface($0)?.index ?? 0
        }
        do {
            try order("name \(name)", NetlinkRequest.name(index, alias: alias))
            // Else the host's own IPv6 greets the network through it. Nothing depends on it.
            try? SmallFile.overwrite("/proc/sys/net/ipv6/conf/\(name)/disable_ipv6", with: "1")
            try order("put a plug on \(name)", NetlinkRequest.makePlug(on: index))
            try order("limit the plug of \(name)", NetlinkRequest.changePlug(on: index, .limit(limit)))
            try order("bring \(name) up", NetlinkRequest.bringUp(index))
        } catch {
            try? removeDevice(index)
            throw error
        }
        return index
    }

    func removeDevice(_ index: Int32) throws(NetlinkError) {
        try orderUnlessAbsent("remove device \(index)", NetlinkRequest.removeDevice(index))
    }

    func silence(_ device: Int32) throws(NetlinkError) {
        try orderUnlessAbsent("take device \(device) down", NetlinkRequest.takeDown(device))
    }

    func received(at interface: Int32) throws(NetlinkError) -> UInt64 {
        try counters(of: interface).received
    }

    func contents(of device: Int32) throws(NetlinkError) -> PlugContents? {
        var result: PlugContents?
        do {
            try socket.ask(
                "read what device \(device) holds",
                NetlinkRequest.qdisc(of: device, at: 0xffff_ffff)  // TC_H_ROOT
            ) { reply in
                if Self.kind(reply) == "plug" { result = PlugContents(reply) }
            }
        } catch {
            if !error.isAbsence { throw error }
        }
        return result
    }

    func isDrained(_ device: Int32) throws(NetlinkError) -> Bool {
        // An ifb counts a packet as received when it takes it from its qdisc, and as sent when it passes it on.
        let (received, sent) = try counters(of: device)
        return received == sent
    }

    /// Packets, by IFLA_STATS64 (linux/if_link.h, struct rtnl_link_stats64).
    private func counters(of device: Int32) throws(NetlinkError) -> (received: UInt64, sent: UInt64) {
        var result: (received: UInt64, sent: UInt64) = (0, 0)
        try socket.ask("read the counters of device \(device)", NetlinkRequest.device(device)) { reply in
            guard let counters = reply.attributes(from: 16).first(23) else { return }
            result.received = NetlinkAttributes.number(counters, at: 0, as: UInt64.self)
            result.sent = NetlinkAttributes.number(counters, at: 8, as: UInt64.self)
        }
        return result
    }

    func readyIngress(of interface: Int32) throws(NetlinkError) -> String {
        if let kind = try ingressKind(interface) { return kind }
        try order("make an ingress qdisc", NetlinkRequest.makeIngress(on: interface))
        return "ingress"
    }

    func removeIngress(of interface: Int32) throws(NetlinkError) {
        try orderUnlessAbsent("remove an ingress qdisc", NetlinkRequest.removeIngress(on: interface))
    }

    func filters(of interface: Int32) throws(NetlinkError) -> [IngressFilter] {
        guard try ingressKind(interface) == "ingress" else { return [] }
        var result: [IngressFilter] = []
        try socket.ask("list the filters of interface \(interface)", NetlinkRequest.filters(on: interface)) {
            // struct tcmsg: handle at 8, info at 16 with the priority in its upper half.
            let handle = $0.field(8, as: UInt32.self)
            let kind = Self.kind($0)
            // A filter is listed once as a whole, with handle 0, and then each of its elements.
            guard $0.type == 44, handle != 0 || kind != "matchall" else { return }  // RTM_NEWTFILTER
            let priority = UInt16($0.field(16, as: UInt32.self) >> 16)
            result.append(IngressFilter(priority: priority, kind: kind, handle: handle))
        }
        return result.sorted { $0.priority < $1.priority }
    }

    func perform(_ batch: PlugBatch) throws(NetlinkError) {
        let succeeded = batch.bytes.withUnsafeMutableBytes { bytes in
            batch.outcomes.withUnsafeMutableBufferPointer {
                socket.perform(bytes, outcomes: $0, detail: &batch.detail)
            }
        }
        if !succeeded, let failure = batch.failure { throw failure }
    }

    // MARK: Pieces

    private func ingressKind(_ interface: Int32) throws(NetlinkError) -> String? {
        var kind: String?
        do {
            let request = try NetlinkRequest.qdisc(of: interface, at: NetlinkRequest.ingressParent)
            try socket.ask("read the ingress of interface \(interface)", request) { kind = Self.kind($0) }
        } catch {
            // ENOENT: none there.
            if error.code != ENOENT { throw error }
        }
        return kind
    }

    private func order(_ action: String, _ request: [UInt8]) throws(NetlinkError) {
        try socket.ask(action, request) { _ in }
    }

    private func orderUnlessAbsent(_ action: String, _ request: [UInt8]) throws(NetlinkError) {
        do {
            try order(action, request)
        } catch {
            if !error.isAbsence { throw error }
        }
    }

    /// TCA_KIND of a message about a qdisc or filter (linux/rtnetlink.h).
    private static func kind(_ reply: NetlinkReply) -> String {
        reply.attributes(from: 20).first(1).map(NetlinkAttributes.text) ?? ""
    }
}

extension NetInterface {
    /// Of an RTM_NEWLINK: struct ifinfomsg with the index at 4, then IFLA_* (linux/if_link.h).
    package init?(_ reply: NetlinkReply) {
        guard reply.type == 16 else { return nil }
        let attributes = reply.attributes(from: 16)
        guard let name = attributes.first(3) else { return nil }  // IFLA_IFNAME
        self.name = NetlinkAttributes.text(name)
        index = reply.field(4, as: Int32.self)
        alias = attributes.first(20).map(NetlinkAttributes.text) ?? ""  // IFLA_IFALIAS
        let info = attributes.first(18).map { NetlinkAttributes($0) }  // IFLA_LINKINFO, IFLA_INFO_KIND
        kind = info?.first(1).map(NetlinkAttributes.text) ?? ""
        master = attributes.first(10).map { NetlinkAttributes.number($0, at: 0, as: Int32.self) } ?? 0
    }
}

extension PlugContents {
    /// Of an RTM_NEWQDISC: TCA_STATS2 with TCA_STATS_QUEUE, struct gnet_stats_queue: packets, bytes, drops
    /// (linux/gen_stats.h).
    package init(_ reply: NetlinkReply) {
        guard let statistics = reply.attributes(from: 20).first(7),
            let queue = NetlinkAttributes(statistics).first(3)
        else { return }
        packets = Int(NetlinkAttributes.number(queue, at: 0, as: UInt32.self))
        bytes = Int(NetlinkAttributes.number(queue, at: 4, as: UInt32.self))
        dropped = UInt64(NetlinkAttributes.number(queue, at: 8, as: UInt32.self))
    }
}
