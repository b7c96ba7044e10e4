/// What `remusd wait` waits for.
package enum WaitGoal: String, CaseIterable, Sendable {
    /// The primary says that the guest is protected.
    case protected
    /// Either side has lost the other.
    case peerLost = "peer-lost"
    /// The guest runs at the standby.
    case active
    /// The standby holds an image that is kept up to date.
    case standby
    /// The same, of an xl, whose guest's output does not wait for it.
    case unacknowledged
    /// The primary's guest runs on without a standby, its output released.
    case alone
    /// Either side's copy is older than one that runs, or ran, elsewhere.
    case outdated

    /// Whether one of `statuses`, all of one guest, shows it.
    package func isReached(by statuses: [GuestStatus]) -> Bool {
        statuses.contains { status in
            switch self {
            case .protected: status.role == .primary && status.protected
            case .peerLost: status.state == .peerLost
            case .active: status.role == .standby && status.state == .active
            case .standby: status.role == .standby && status.state == .standby
            case .unacknowledged: status.state == .unacknowledged
            case .alone: status.role == .primary && status.state == .alone
            case .outdated: status.state == .outdated
            }
        }
    }
}
