import Checkpoint

/// Keeps one record a guest, for ever, and changes it by compare-and-swap only. Every call is on a thread that may hang.
protocol RecordStore: Sendable {
    /// What tells a record from every other that was ever there in its place.
    associatedtype Version: Sendable

    /// As `Arbiter.name`.
    var name: String { get }

    /// The record as it is now, not as somebody remembers it.
    /// - Throws: `ArbiterError` where that cannot be told; never takes what it cannot read for nothing.
    func read(_ guest: GuestUUID, until deadline: UInt64) throws(ArbiterError) -> StoredRecord<Version>

    /// Puts `record` in the place of exactly `expected`, for ever.
    /// - Returns: false if something else is there by now, and nothing was changed.
    /// - Throws: `ArbiterError` where nobody knows whether it was done.
    func swap(
        _ guest: GuestUUID,
        from expected: StoredRecord<Version>,
        to record: GrantRecord,
        until deadline: UInt64
    ) throws(ArbiterError) -> Bool

    /// `record`, which `read` found and which was asked for earlier, stays, whatever dies now.
    func settle(_ guest: GuestUUID, on record: GrantRecord, until deadline: UInt64) throws(ArbiterError)

    /// What tells this storage from another that is called the same: the same for both hosts, or they do not share it.
    func identity(until deadline: UInt64) throws(ArbiterError) -> String

    /// Removes the record that a probe has made, and no other.
    func removeProbe(_ guest: GuestUUID, until deadline: UInt64) throws(ArbiterError)
}

/// A record, or that there is none, and what tells it from others.
struct StoredRecord<Version: Sendable>: Sendable {
    var record: GrantRecord?
    var version: Version
}
