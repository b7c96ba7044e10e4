import Checkpoint

/// A person. Never grants: both sides hold, and say what the person can do.
package struct ManualArbiter: Arbiter {
    package let name = "manual"
    package let decides = false

    package init() {}

    package func ask(_ request: GrantRequest, deadline: TimeSpan) -> GrantAnswer {
        .unavailable(
            "a person decides: once the other host is known to be off, 'remusd continue GUEST --confirm-fenced HOST' at the "
                + "primary, or 'remusd activate GUEST --confirm-fenced HOST' at the standby"
        )
    }

    package func record(of guest: GuestUUID, deadline: TimeSpan) throws(ArbiterError) -> GrantRecord? {
        throw ArbiterError("a person decides, and keeps no record that could be read")
    }
}
