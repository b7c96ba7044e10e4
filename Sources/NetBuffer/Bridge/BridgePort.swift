/// An interface of a guest's as a port of a bridge.
package enum BridgePort {
    /// The hardware address of each such port: the greatest that is no broadcast, so that no bridge takes it for its own (a bridge
    /// takes the least of its ports'; linux net/bridge/br_stp_if.c, br_stp_recalculate_bridge_id).
    package static let address: [UInt8] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]

    /// Puts an interface into a bridge, and up.
    /// - Parameters:
    ///   - name: what it shall be called from now on; nil if as before.
    ///   - mtu: bytes; nil for the bridge's own.
    /// - Returns: the MTU that it has.
    package static func enter(
        _ interface: String,
        as name: String? = nil,
        bridge: String,
        mtu: UInt32? = nil,
        _ kernel: some BridgeKernel
    ) throws(BridgePortError) -> UInt32 {
        let target = try find(bridge, kernel)
        guard target.kind == "bridge" else {
            throw BridgePortError(interface: bridge, reason: "it is no bridge of the kernel's")
        }
        let port = try find(interface, kernel)
        func perform(_ order: PortOrder) throws(BridgePortError) {
            try Self.perform(order, on: port, interface, kernel)
        }
        if port.isUp { try perform(.down) }
        if let name, name != interface { try perform(.rename(name)) }
        try perform(.address(address))
        // A host without IPv6 refuses, and has no such addresses.
        try? perform(.noAddresses)
        // Before it is in the bridge, which otherwise goes down to its least port's. A device that cannot have it keeps its own.
        let wanted = mtu ?? target.mtu
        var now = port.mtu
        if wanted != port.mtu, wanted > 0, (try? perform(.mtu(wanted))) != nil { now = wanted }
        try perform(.enter(target.index))
        return now
    }

    /// Takes an interface out of its bridge, and down. One that is gone is no error.
    package static func leave(_ interface: String, _ kernel: some BridgeKernel) throws(BridgePortError) {
        do throws(NetlinkError) {
            guard let port = try kernel.interface(named: interface) else { return }
            try kernel.perform(.leave, on: port.index)
        } catch {
            if !error.isAbsence { throw BridgePortError(interface: interface, reason: "\(error)") }
        }
    }

    private static func find(_ name: String, _ kernel: some BridgeKernel) throws(BridgePortError) -> PortState
    {
        do throws(NetlinkError) {
            if let found = try kernel.interface(named: name) { return found }
        } catch {
            throw BridgePortError(interface: name, reason: "\(error)")
        }
        throw BridgePortError(interface: name, reason: "this host has none of that name")
    }

    private static func perform(
        _ order: PortOrder,
        on port: PortState,
        _ name: String,
        _ kernel: some BridgeKernel
    ) throws(BridgePortError) {
        do throws(NetlinkError) {
            try kernel.perform(order, on: port.index)
        } catch {
            throw BridgePortError(interface: name, reason: "\(error)")
        }
    }
}

/// An interface that could not be made a bridge's port: which one, and why.
package struct BridgePortError: Error, Equatable, Sendable, CustomStringConvertible {
    package let interface: String
    package let reason: String

    package init(interface: String, reason: String) {
        self.interface = interface
        self.reason = reason
    }

    package var description: String { "\(interface): \(reason)" }
}
