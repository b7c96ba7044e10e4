import Checkpoint

/// What an arbiter does when it may take its time: the way to it is its own, the deadline is kept by `DeadlineArbiter`.
protocol ArbiterBackend: Sendable {
    var name: String { get }
    /// - Parameter deadline: in `Clock.monotonic`; nothing new is begun after it.
    func ask(_ request: GrantRequest, until deadline: UInt64) -> GrantAnswer
    func record(of guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) -> GrantRecord?
}

/// An arbiter that always answers in time: each call is left behind when its deadline has passed.
struct DeadlineArbiter<Backend: ArbiterBackend>: Arbiter {
    let backend: Backend
    private let calls = AbandonableCalls()

    init(_ backend: Backend) { self.backend = backend }

    var name: String { backend.name }
    var decides: Bool { true }

    func ask(_ request: GrantRequest, deadline: TimeSpan) -> GrantAnswer {
        do throws(ArbiterError) {
            return try calls.run(within: deadline) { [backend] in backend.ask(request, until: $0) }
        } catch {
            return .unavailable("\(name): \(error)")
        }
    }

    func record(of guest: GuestUUID, deadline: TimeSpan) throws(ArbiterError) -> GrantRecord? {
        do {
            return try calls.run(within: deadline) { [backend] deadline throws(ArbiterError) in
                try backend.record(of: guest, until: deadline)
            }
        } catch {
            throw ArbiterError("\(name): \(error)")
        }
    }
}
