/// Embedded guests as people read them.
package enum EmbeddedGuestText {
    private static let header = [
        "NAME", "PID", "STATE", "ADDRESS", "MEMORY", "POPULATED", "CONTROLLED", "PLUG", "HELD", "KEYS",
        "COMMANDS",
    ]

    /// One line a guest.
    package static func table(_ guests: [EmbeddedGuestStatus]) -> String {
        TextTable.text(
            header: header,
            rows: guests.map { guest in
                func size(_ bytes: UInt64) -> String { ByteSize(bytes: bytes).rounded }
                return [
                    guest.name, guest.pid == 0 ? "-" : "\(guest.pid)", guest.state,
                    guest.address.isEmpty ? "-" : guest.address, size(guest.memoryBytes),
                    size(guest.populatedBytes),
                    guest.controlled ? "yes" : "no", guest.plug, size(guest.heldBytes), "\(guest.keys)",
                    "\(guest.commands)",
                ]
            }
        )
    }
}

extension EmbeddedGuestStatus {
    /// A guest that cannot speak for itself.
    package static func unanswered(_ name: String, state: String) -> EmbeddedGuestStatus {
        EmbeddedGuestStatus(
            name: name,
            uuid: "",
            pid: 0,
            address: "",
            memoryBytes: 0,
            populatedBytes: 0,
            state: state,
            controlled: false,
            plug: "unknown",
            heldBytes: 0,
            keys: 0,
            commands: 0
        )
    }
}
