/// An embedded guest as its own process sees it: `GET /v1/status` at `guest-NAME.sock`.
package struct EmbeddedGuestStatus: Codable, Equatable, Sendable {
    /// `remusd.guest/1`
    package var schema: String
    package var name: String
    package var uuid: String
    package var pid: Int32
    /// Where its clients reach it.
    package var address: String
    /// Its RAM.
    package var memoryBytes: UInt64
    /// Of that, what is backed by memory.
    package var populatedBytes: UInt64
    /// `running`, `suspended`, …
    package var state: String
    /// Whether a `remusd protect` has hold of it.
    package var controlled: Bool
    /// Its output: `open` or `closed`.
    package var plug: String
    /// Output held now, in bytes.
    package var heldBytes: UInt64
    /// Keys in its table.
    package var keys: UInt64
    /// Commands it has served.
    package var commands: UInt64

    package init(
        name: String,
        uuid: String,
        pid: Int32,
        address: String,
        memoryBytes: UInt64,
        populatedBytes: UInt64,
        state: String,
        controlled: Bool,
        plug: String,
        heldBytes: UInt64,
        keys: UInt64,
        commands: UInt64
    ) {
        schema = "remusd.guest/1"
        self.name = name
        self.uuid = uuid
        self.pid = pid
        self.address = address
        self.memoryBytes = memoryBytes
        self.populatedBytes = populatedBytes
        self.state = state
        self.controlled = controlled
        self.plug = plug
        self.heldBytes = heldBytes
        self.keys = keys
        self.commands = commands
    }

    package enum CodingKeys: String, CodingKey {
        case schema, name, uuid, pid, address
        case memoryBytes = "memory_bytes"
        case populatedBytes = "populated_bytes"
        case state, controlled, plug
        case heldBytes = "held_bytes"
        case keys, commands
    }
}
