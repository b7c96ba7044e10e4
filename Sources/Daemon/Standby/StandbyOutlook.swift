import Checkpoint
import Logging
import Synchronization
import SystemSupport
import XenStream

/// Whether each guest could be started here now: asked when its protection starts and again from time to time, so that
/// what is missing is known before it is needed.
final class StandbyOutlook: Sendable {
    /// Between two looks. Nanoseconds.
    private static let period: UInt64 = 30_000_000_000

    private enum Order { case none, look, stop }

    private let order = Monitor(Order.none)

    /// Looks on a thread of its own, at `guests` as they are then.
    func start(_ activator: any GuestActivator, _ guests: @escaping @Sendable () -> [StandbyGuest]) throws {
        let thread = try WorkerThread("outlook") { [self] in
            while true {
                for guest in guests() { guest.look(with: activator) }
                let next = order.wait(until: Clock.monotonic + Self.period) { order -> Order? in
                    guard order != .none else { return nil }
                    if order == .look { order = .none }
                    return order == .none ? .look : order
                }
                if next == .stop { return }
            }
        }
        thread.detach()
    }

    /// Something changed: look soon.
    func lookSoon() { order.signal { if $0 != .stop { $0 = .look } } }

    func stop() { order.signal { $0 = .stop } }
}

extension StandbyGuest {
    /// Asks what would stand in the way of starting the guest here, and says what is new about it.
    func look(with activator: any GuestActivator) {
        let asked = state.withLock { state in
            state.machine.runsHere || state.activating ? nil : state.description
        }
        guard let description = asked else { return }
        let outlook = activator.outlook(for: description)
        let before = state.withLock { state in
            defer { state.outlook = outlook }
            return state.outlook
        }
        for obstacle in outlook.obstacles where before?.obstacles.contains(obstacle) != true {
            log.warning("it could not be started here: \(obstacle)")
        }
        if outlook.obstacles.isEmpty, before?.obstacles.isEmpty == false {
            log.notice("it could be started here")
        }
    }
}
