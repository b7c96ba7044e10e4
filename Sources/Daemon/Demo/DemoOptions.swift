import Checkpoint

/// What dies in the middle of a demo.
package enum DemoKill: String, CaseIterable, Codable, Sendable {
    /// The guest and its `remusd protect`, together: the loss of the primary's host.
    case primary
    /// The guest alone: it has crashed, which is nobody's order to take over.
    case guest
    /// The standby and its guardian: its host is lost with the image.
    case standby
    /// The standby's daemon alone; its guardian keeps the image.
    case standbyDaemon = "standby-daemon"
    /// Nothing dies; what the two say to each other does not arrive for a while.
    case link

    /// What happens, for people.
    package var story: String {
        switch self {
        case .primary: "guest and protect get SIGKILL together, the standby is activated"
        case .guest: "the guest alone gets SIGKILL: crashed, no takeover by itself, then activated by hand"
        case .standby:
            "standby and guardian get SIGKILL: the guest goes on alone, a new standby protects it again"
        case .standbyDaemon:
            "the standby daemon gets SIGKILL: started again it adopts its image, the session goes on"
        case .link:
            "the link carries nothing for a while, both sides alive: nobody takes over, the session resumes"
        }
    }
}

/// What `remusd demo` is asked to show.
package struct DemoOptions: Sendable {
    package var kill = DemoKill.primary
    package var rounds = 1
    /// Chooses moments, keys and values; round n uses `seed + n`.
    package var seed: UInt64
    package var memory = ByteSize(bytes: 64 << 20)
    package var interval = TimeSpan.milliseconds(50)
    /// How long clients write before and after what happens, together.
    package var duration = TimeSpan.seconds(4)
    package var connections = 6
    /// Requests that a connection sends ahead of its answers.
    package var pipeline = 64

    package init(seed: UInt64) { self.seed = seed }
}
