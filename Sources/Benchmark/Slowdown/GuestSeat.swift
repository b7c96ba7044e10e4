/// Where a guest runs that works all the time.
enum GuestSeat: CaseIterable, Sendable {
    /// On a processor of its own, as on a host that has more of them: protection and the standby share the other one.
    case alone
    /// On the engine's, which takes from the guest whatever it needs.
    case shared

    /// For the table.
    var title: String {
        switch self {
        case .alone: "on a processor of its own"
        case .shared: "on the engine's processor"
        }
    }

    func guest(_ placement: Placement) -> Int {
        switch self {
        case .alone: placement.standby
        case .shared: placement.primary
        }
    }

    /// Where both sides run then.
    func sides(_ placement: Placement) -> Placement {
        switch self {
        case .alone: Placement(primary: placement.primary, standby: placement.primary)
        case .shared: placement
        }
    }
}
