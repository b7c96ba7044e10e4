import NetBuffer

/// The kernel's plugs on this host, as `remusd plug` shows them.
package struct PlugReport: Codable, Equatable, Sendable {
    /// `remusd.plug/1`
    package var schema = "remusd.plug/1"
    /// The device that holds: `rmd5.0a`.
    package var device: String
    /// The guest's domain number.
    package var domain: UInt32
    /// The interface whose output it is for.
    package var interface: String
    /// `closed`: all that comes from the interface goes in here. `older`: it holds what was sent before the interface
    /// was turned over to a newer one. `empty`: neither. `orphan`: its interface is gone.
    package var state: String
    package var heldBytes: UInt64
    package var heldPackets: UInt64
    /// Packets dropped because it was full.
    package var dropped: UInt64

    package enum CodingKeys: String, CodingKey {
        case schema, device, domain, interface, state
        case heldBytes = "held_bytes"
        case heldPackets = "held_packets"
        case dropped
    }

    /// All there are. Needs no privilege.
    package static func all() throws(NetlinkError) -> [PlugReport] {
        try PlugSurvey.list().map { PlugReport($0) }
    }

    /// Removes the devices whose interface is gone.
    /// - Returns: their names.
    package static func removeOrphans() throws(NetlinkError) -> [String] {
        try PlugSurvey.removeOrphans { _ in true }
    }

    init(_ device: PlugSurvey.Device) {
        self.device = device.name
        domain = device.domain
        interface = device.interface
        state =
            if !device.hasInterface {
                "orphan"
            } else if device.isRedirected {
                "closed"
            } else {
                device.heldPackets > 0 ? "older" : "empty"
            }
        heldBytes = UInt64(device.heldBytes)
        heldPackets = UInt64(device.heldPackets)
        dropped = device.dropped
    }

    /// One line a device, for people.
    package static func table(_ reports: [PlugReport]) -> String {
        TextTable.text(
            header: ["DOMAIN", "INTERFACE", "DEVICE", "STATE", "HELD", "PACKETS", "DROPPED"],
            rows: reports.map {
                [
                    "\($0.domain)", $0.interface, $0.device, $0.state, ByteSize(bytes: $0.heldBytes).rounded,
                    "\($0.heldPackets)", "\($0.dropped)",
                ]
            }
        )
    }
}
