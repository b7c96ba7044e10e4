import Checkpoint

/// An output buffer that fails on demand and remembers what it did.
final class FakeOutput: OutputBuffer {
    let wasClosed: Bool
    /// Everything fails.
    var fails = false
    /// These orders fail.
    var failing: Set<String> = []
    /// This many more orders fail, whatever they are.
    var failures = 0
    private(set) var done: [String] = []
    private(set) var attempts = 0
    /// What it says that it holds, and what gets past it.
    var content = HeldOutput()
    var leaks: [String] {
        get {
            isAsked?()
            return leaking
        }
        set { leaking = newValue }
    }
    private var leaking: [String] = []
    /// Called when it is asked what gets past it: once in each round of an engine.
    var isAsked: (() -> Void)?
    private(set) var attended = 0

    init(wasClosed: Bool = false) { self.wasClosed = wasClosed }

    func cut(epoch: UInt64) throws(GuestError) { try carryOut("cut \(epoch)") }
    func release(epoch: UInt64) throws(GuestError) { try carryOut("release \(epoch)") }
    func absorb() throws(GuestError) { try carryOut("absorb") }
    func releaseAll() throws(GuestError) { try carryOut("releaseAll") }
    func dropAll() throws(GuestError) { try carryOut("dropAll") }
    func heldBytes() -> Int { content.bytes }
    func held() -> HeldOutput { content }
    func attend() -> [String] {
        attended += 1
        return []
    }

    private func carryOut(_ order: String) throws(GuestError) {
        attempts += 1
        if failures > 0 {
            failures -= 1
            throw GuestError(guest: "web1", reason: "\(order): busy")
        }
        guard !fails, !failing.contains(order) else {
            throw GuestError(guest: "web1", reason: "\(order): no")
        }
        done.append(order)
    }
}
