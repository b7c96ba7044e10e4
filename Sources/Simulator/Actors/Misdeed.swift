/// A bug on purpose, to see that it is found. None is in the product, nor can it be: it is the simulator's own drivers
/// that carry out an effect at the wrong moment, or without asking the machine.
package enum Misdeed: String, CaseIterable, Sendable {
    /// The standby acknowledges an epoch when it begins to come.
    case ackBeforeCheck = "ack-before-check"
    /// The primary releases an epoch when it has written it to its socket.
    case releaseOnWrite = "release-on-write"
    /// An activation starts the guest and writes nothing down.
    case activationWithoutGrant = "activation-without-grant"
    /// An epoch is cut before the one before it is released.
    case cutBeforeRelease = "cut-before-release"
    /// The guest runs on before the cut.
    case cutWhileGuestRuns = "cut-while-guest-runs"
    /// The primary lets its output go when the connection ends.
    case aloneWithoutPermission = "alone-without-permission"
    /// An activation does not care that the primary may have run alone since.
    case staleImage = "stale-image"
    /// A standby that should ask the arbiter does not.
    case activationUnasked = "activation-unasked"
    /// The primary takes it for a grant that the arbiter does not answer.
    case unansweredIsGranted = "unanswered-is-granted"
    /// A grant is somebody else's for the asking after three seconds.
    case leasedGrant = "leased-grant"
    /// A standby that finds an image when it starts lets it run.
    case restartedStandbyActivates = "restarted-standby-activates"
}
