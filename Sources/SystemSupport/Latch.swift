/// Something that happens once, from any thread, and one action that follows it, even if it comes later.
package final class Latch: Sendable {
    private let state = Monitor((isSet: false, action: (@Sendable () -> Void)?.none))

    package init() {}

    /// Whether it has happened.
    package var isSet: Bool { state.withLock { $0.isSet } }

    /// It happens: the action runs, on this thread.
    package func set() {
        let action = state.withLock { state in
            defer { state.isSet = true }
            return state.isSet ? nil : state.action
        }
        action?()
    }

    /// Runs `action` when it happens, or now if it has.
    package func whenSet(_ action: @escaping @Sendable () -> Void) {
        let isSet = state.withLock { state in
            state.action = action
            return state.isSet
        }
        if isSet { action() }
    }
}
