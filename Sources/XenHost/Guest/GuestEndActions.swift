import Checkpoint

/// What a guest's configuration wants done with it when it ends (xl.cfg(5), "on_poweroff" and on).
package enum GuestEndAction: String, Equatable, Sendable {
    case destroy, restart, preserve
    case renameRestart = "rename_restart"
    case coredumpDestroy = "coredump_destroy"
    case coredumpRestart = "coredump_restart"
    case softReset = "soft_reset"

    /// Whether the domain is taken away. One that would have to be renamed beside a new one stays as it is.
    package var destroys: Bool { self != .preserve && self != .renameRestart }
    /// Whether the guest is started again; a soft reset is one, with its memory lost.
    package var restarts: Bool { self == .restart || self == .coredumpRestart || self == .softReset }
    /// Whether its memory is written to a file before.
    package var dumpsCore: Bool { self == .coredumpDestroy || self == .coredumpRestart }
}

/// The actions of one guest.
package struct GuestEndActions: Equatable, Sendable {
    package var poweroff = GuestEndAction.destroy, reboot = GuestEndAction.restart,
        crash = GuestEndAction.destroy

    /// Reads them out of a configuration as libxl prints it: a key that is missing has libxl's default, "destroy".
    package init(config: [UInt8]) {
        let values = JSONValue(config)
        func action(_ key: String) -> GuestEndAction {
            values?[key]?.string.flatMap { GuestEndAction(rawValue: $0) } ?? .destroy
        }
        poweroff = action("on_poweroff")
        reboot = action("on_reboot")
        crash = action("on_crash")
    }

    package func action(for end: GuestEnd) -> GuestEndAction {
        switch end {
        case .shutdown: poweroff
        case .reboot: reboot
        case .crashed: crash
        }
    }
}
