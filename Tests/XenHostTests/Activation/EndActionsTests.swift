import Testing

@testable import XenHost

/// What a configuration wants done at the guest's end, as xl would do it.
@Suite struct EndActionsTests {
    @Test func whatIsNotSaidIsLibxlsDefault() {
        let actions = EndActions(json: Array(#"{"on_reboot": "restart", "on_crash": "preserve"}"#.utf8) + [0])
        #expect(actions.action(for: 0) == .destroy, "power off")
        #expect(actions.action(for: 1) == .restart, "reboot")
        #expect(actions.action(for: 3) == .nothing, "crash")
        #expect(actions.action(for: 4) == .destroy, "watchdog")
    }

    @Test func aSuspendedOrDestroyedGuestIsSomebodyElses() {
        let actions = EndActions(json: Array(#"{"on_reboot": "restart"}"#.utf8))
        for reason: Int32 in [2, -1, -2, 99] { #expect(actions.action(for: reason) == .nothing) }
    }

    @Test func unreadableIsDestroyed() { #expect(EndActions(json: [1, 2]).action(for: 1) == .destroy) }
}
