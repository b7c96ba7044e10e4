import Checkpoint
import Glibc
import SystemSupport

/// Where the standby is, in numbers.
///
/// A name is looked up on a thread of its own: a resolver that does not answer takes many seconds each time, and whoever
/// connects has a guest to see to. It is looked up again while the standby is away, since it may lead elsewhere by now.
package final class StandbyAddress: Sendable {
    /// Finds every address of a name, and may take its time.
    package typealias LookUp = @Sendable (SocketAddress) throws(SystemError) -> [SocketAddress]

    /// Between two lookups, at least. Nanoseconds.
    private static let pause: UInt64 = 5_000_000_000

    private struct State {
        var addresses: [SocketAddress]
        var turn = 0
        var isAsking = false
        var askedAt: UInt64?
        var trouble: SystemError?
    }

    private let address: SocketAddress
    private let isName: Bool
    private let lookUp: LookUp
    private let state: Monitor<State>

    package init(_ address: SocketAddress, lookUp: @escaping LookUp = TCP.addresses) {
        self.address = address
        self.lookUp = lookUp
        isName = !TCP.isNumeric(address)
        state = Monitor(State(addresses: isName ? [] : [address]))
    }

    /// Where to connect to next: to each address of the name in turn. Never waits.
    /// - Throws: while none is known.
    package func next() throws(SystemError) -> SocketAddress {
        ask()
        return try state.withLock { state throws(SystemError) in
            guard !state.addresses.isEmpty else {
                throw state.trouble ?? SystemError("resolve host \(address.host) yet", code: EAGAIN)
            }
            defer { state.turn += 1 }
            return state.addresses[state.turn % state.addresses.count]
        }
    }

    /// Waits for the first lookup: before protection begins there is time. One that takes longer goes on.
    package func lookUpFirst(within patience: TimeSpan) {
        ask()
        _ = state.wait(until: Clock.monotonic + patience.nanoseconds) { $0.isAsking ? nil : true }
    }

    private func ask() {
        guard isName else { return }
        let now = Clock.monotonic
        let isDue = state.withLock { state in
            guard !state.isAsking, state.askedAt.map({ now - $0 >= Self.pause }) ?? true else { return false }
            state.isAsking = true
            state.askedAt = now
            return true
        }
        guard isDue else { return }
        do throws(SystemError) {
            try WorkerThread("lookup") { [self] in
                do throws(SystemError) {
                    let found = try lookUp(address)
                    answer(found, nil)
                } catch {
                    answer([], error)
                }
            }.detach()
        } catch {
            answer([], error)
        }
    }

    /// What was known stays where nothing better is.
    private func answer(_ found: [SocketAddress], _ trouble: SystemError?) {
        state.signal { state in
            if !found.isEmpty { state.addresses = found }
            state.trouble = trouble
            state.isAsking = false
        }
    }
}
