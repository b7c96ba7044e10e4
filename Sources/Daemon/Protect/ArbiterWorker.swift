import Checkpoint
import SystemSupport

/// Asks an arbiter on a thread of its own, one request after the other: nothing else waits for a network.
final class ArbiterWorker: Sendable {
    /// The longest that one request is waited for.
    static let deadline = TimeSpan.seconds(2)

    private enum Order { case none, ask(GrantRequest), stop }

    private let order: Monitor<Order>

    /// - Parameter answered: called on that thread.
    init(
        _ arbiter: any Arbiter,
        answered: @escaping @Sendable (GrantAnswer) -> Void
    ) throws(SystemError) {
        let order = Monitor(Order.none)
        self.order = order
        let thread = try WorkerThread("arbiter") {
            while true {
                let next = order.wait { order -> Order? in
                    if case .none = order { return nil }
                    defer { if case .ask = order { order = .none } }
                    return order
                }
                guard case .ask(let request) = next else { return }
                answered(arbiter.ask(request, deadline: Self.deadline))
            }
        }
        thread.detach()
    }

    deinit { order.signal { $0 = .stop } }

    /// Takes the place of a request that nobody has begun to ask.
    func ask(_ request: GrantRequest) { order.signal { $0 = .ask(request) } }
}
