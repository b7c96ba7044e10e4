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
                // One that does not answer has no process number, and nobody knows the rest.
                guard guest.pid != 0 else {
                    return [guest.name, "-", guest.state] + Array(repeating: "-", count: header.count - 3)
                }
                func size(_ bytes: UInt64) -> String { ByteSize(bytes: bytes).rounded }
                return [
                    guest.name, "\(guest.pid)", guest.state, guest.address, size(guest.memoryBytes),
                    size(guest.populatedBytes), guest.controlled ? "yes" : "no", guest.plug,
                    size(guest.heldBytes), "\(guest.keys)", "\(guest.commands)",
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
