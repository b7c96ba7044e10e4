/// The effects of one event, in order. The caller owns it and clears it after each event; with room for what a state
/// machine appends at most, it never allocates again.
package struct EffectBuffer<Effect> {
    /// What was appended since the last `clear`.
    package private(set) var effects: [Effect] = []

    /// An empty buffer with room for `capacity` effects.
    package init(capacity: Int = 16) { effects.reserveCapacity(capacity) }

    package mutating func append(_ effect: Effect) { effects.append(effect) }
    package mutating func clear() { effects.removeAll(keepingCapacity: true) }
}
