/// What one host durably knows of a guest: what it says when the other one asks before it starts the guest anew.
package struct HostClaim: Equatable, Sendable {
    /// What the host has of the guest as a standby.
    package enum Holding: UInt8, Equatable, Sendable {
        /// Nothing that can be activated, now.
        case nothing = 0
        /// An image that can be activated.
        case image = 1
        /// The guest was activated here.
        case active = 2
    }

    /// The generation that it had here as a primary; 0 if there never was one.
    package var primary: UInt64
    /// The generation at which that copy was found to be outdated; 0 if it was not.
    package var outdatedBy: UInt64
    /// The highest generation that this host knows as a standby; 0 if it never was one.
    package var standby: UInt64
    package var holding: Holding

    package init(
        primary: UInt64 = 0,
        outdatedBy: UInt64 = 0,
        standby: UInt64 = 0,
        holding: Holding = .nothing
    ) {
        self.primary = primary
        self.outdatedBy = outdatedBy
        self.standby = standby
        self.holding = holding
    }

    /// The generation at which the guest ran on this host last, as far as it knows; nil if it ran elsewhere since, or
    /// never here.
    package var runs: UInt64? {
        if primary > standby { return outdatedBy == 0 ? primary : nil }
        return holding == .active ? standby : nil
    }

    /// The highest generation that it knows of.
    package var highest: UInt64 { max(primary, outdatedBy, standby) }
}
