import Checkpoint

extension Sample {
    /// When a standby's story begins.
    static let start = Instant(nanoseconds: 50_000_000_000)
}

/// Tells a standby's machine what happened; what it wants done.
@discardableResult
func send(
    _ event: StandbyEvent,
    to machine: inout StandbyMachine,
    at now: Instant = Sample.start
) -> [StandbyEffect] {
    var effects = EffectBuffer<StandbyEffect>()
    machine.handle(event, at: now, into: &effects)
    return effects.effects
}
