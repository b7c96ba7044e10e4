import Checkpoint
import Testing
import XenHost

@Suite struct GuestEndActionsTests {
    private func actions(_ text: String) -> GuestEndActions { GuestEndActions(config: Array(text.utf8)) }

    @Test func whatStandsThereIsDone() {
        let actions = actions(
            #"{"c_info": {}, "on_poweroff": "preserve", "on_reboot": "restart", "on_crash": "coredump_restart"}"#
        )
        #expect(actions.action(for: .shutdown) == .preserve)
        #expect(actions.action(for: .reboot) == .restart)
        #expect(actions.action(for: .crashed) == .coredumpRestart)
    }

    /// libxl prints only what is not its default.
    @Test func whatIsMissingIsDestroy() {
        let actions = actions(#"{"c_info": {"name": "on_reboot"}}"#)
        for end in [GuestEnd.shutdown, .reboot, .crashed] { #expect(actions.action(for: end) == .destroy) }
    }

    @Test(arguments: [
        (GuestEndAction.destroy, true, false, false), (.restart, true, true, false),
        (.preserve, false, false, false),
        (.renameRestart, false, false, false), (.coredumpDestroy, true, false, true),
        (.coredumpRestart, true, true, true), (.softReset, true, true, false),
    ])
    func means(_ action: GuestEndAction, _ destroys: Bool, _ restarts: Bool, _ dumps: Bool) {
        #expect(action.destroys == destroys)
        #expect(action.restarts == restarts)
        #expect(action.dumpsCore == dumps)
    }
}
