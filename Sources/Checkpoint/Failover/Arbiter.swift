/// Who gives grants: one record a guest, changed by compare-and-swap only.
package protocol Arbiter: Sendable {
    /// What status, logs and both sides' configurations call it: `etcd:http://10.0.0.5:2379/remusd`.
    var name: String { get }
    /// It gives grants by itself. False: a person decides.
    var decides: Bool { get }

    /// Asks once. Blocks, for `deadline` at most; is called on a thread that may wait.
    func ask(_ request: GrantRequest, deadline: TimeSpan) -> GrantAnswer

    /// The guest's record, without asking for anything. Blocks, for `deadline` at most.
    /// - Throws: `ArbiterError` where it does not answer, or where it cannot tell.
    func record(of guest: GuestUUID, deadline: TimeSpan) throws(ArbiterError) -> GrantRecord?
}

/// An arbiter did not answer, or what it said cannot be used.
package struct ArbiterError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
