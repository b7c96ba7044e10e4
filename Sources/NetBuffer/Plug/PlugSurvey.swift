import Checkpoint

/// What plugs there are on this host, and what is left of those that nobody needs.
package enum PlugSurvey {
    /// A device that holds, or may hold, a guest's output.
    package struct Device: Equatable, Sendable {
        /// `rmd5.0a`.
        package let name: String
        /// The guest's domain number.
        package let domain: UInt32
        /// The interface whose output it is for.
        package let interface: String
        /// Whether that interface is there.
        package let hasInterface: Bool
        /// All that comes from the interface goes here now, to be held. If no device of a port is, the port is open.
        package let isRedirected: Bool
        package let heldBytes: Int
        package let heldPackets: Int
        /// Packets dropped because it was full.
        package let dropped: UInt64

        fileprivate let index: Int32
    }

    /// All devices of remusd's plugs, by domain, interface and age.
    package static func list() throws(NetlinkError) -> [Device] { try list(NetlinkPlugKernel()) }

    package static func list(_ kernel: any PlugKernel) throws(NetlinkError) -> [Device] {
        let interfaces = try kernel.interfaces()
        var devices: [Device] = []
        for candidate in interfaces {
            guard let name = HoldName(candidate.name), candidate.kind == "ifb" else { continue }
            let interface = interfaces.first { $0.name == candidate.alias }
            let contents = try kernel.contents(of: candidate.index) ?? PlugContents()
            var redirection: IngressFilter?
            if let interface { redirection = try kernel.filters(of: interface.index).first }
            devices.append(
                Device(
                    name: candidate.name,
                    domain: name.domain,
                    interface: candidate.alias,
                    // One that was never named is half made; only its domain's end says that it is of no use.
                    hasInterface: interface != nil || candidate.alias.isEmpty,
                    isRedirected: redirection?.handle == UInt32(candidate.index)
                        && redirection?.kind == "matchall" && redirection?.priority != IngressFilter.passage,
                    heldBytes: contents.bytes,
                    heldPackets: contents.packets,
                    dropped: contents.dropped,
                    index: candidate.index
                )
            )
        }
        return devices.sorted {
            ($0.domain, $0.interface, $0.index) < ($1.domain, $1.interface, $1.index)
        }
    }

    /// Drops what is held of a guest that is being taken away, and all that comes: its interfaces cannot go as long as their packets are
    /// held. For whoever does not own the plug, when its owner does not do it: the devices stay, down.
    /// - Parameter isLeaving: whether an interface is being taken away.
    /// - Returns: how many packets were dropped, by interface.
    package static func silence(
        domain: UInt32,
        _ isLeaving: (_ interface: String) -> Bool
    ) throws(NetlinkError) -> [(interface: String, packets: Int)] {
        try silence(NetlinkPlugKernel(), domain: domain, isLeaving)
    }

    package static func silence(
        _ kernel: any PlugKernel,
        domain: UInt32,
        _ isLeaving: (_ interface: String) -> Bool
    ) throws(NetlinkError) -> [(interface: String, packets: Int)] {
        var dropped: [(interface: String, packets: Int)] = []
        for device in try list(kernel)
        where device.domain == domain && device.heldPackets > 0 && isLeaving(device.interface) {
            try kernel.silence(device.index)
            dropped.append((device.interface, device.heldPackets))
        }
        return dropped
    }

    /// Removes what no guest needs any more: the devices of domains that are gone, and of interfaces that are. What
    /// they hold is lost, as it was when their guest went. A guest that lives is not touched.
    /// - Parameter isAlive: whether a domain exists and is not dying.
    /// - Returns: the names of the devices removed.
    @discardableResult
    package static func removeOrphans(isAlive: (UInt32) -> Bool) throws(NetlinkError) -> [String] {
        try removeOrphans(NetlinkPlugKernel(), isAlive: isAlive)
    }

    @discardableResult
    package static func removeOrphans(
        _ kernel: any PlugKernel,
        isAlive: (UInt32) -> Bool
    ) throws(NetlinkError) -> [String] {
        var removed: [String] = []
        for device in try list(kernel) where !device.hasInterface || !isAlive(device.domain) {
            try kernel.removeDevice(device.index)
            removed.append(device.name)
        }
        // What an announcer that was killed left.
        let interfaces = try kernel.interfaces()
        for device in interfaces where Announcer.isName(device.name) && device.kind == "ifb" {
            if device.alias.isEmpty || interfaces.contains(where: { $0.name == device.alias }) { continue }
            try kernel.removeDevice(device.index)
            removed.append(device.name)
        }
        return removed
    }
}
