/// What a standby durably knows of a guest: what survives the loss of all its memory.
package struct StandbyFacts: Equatable, Sendable {
    package enum State: String, Equatable, Sendable {
        /// Nothing here can be activated.
        case dropped
        /// An image of `generation` was committed here.
        case image
        /// The same, and its guest crashed: activated by hand only.
        case crashed
        /// The guest runs here, or was told to.
        case active
    }

    package var state: State
    /// The highest generation known; the image's own may be lower while a newer session syncs.
    package var generation: UInt64
    /// Random, made with each activation: tells two equal generations apart.
    package var activationID: UInt64
    /// The generation of the image that was activated.
    package var activatedFrom: UInt64?
    /// The arbiter that the image goes by; nil if it goes by none.
    package var arbiter: ArbiterFacts?

    package init(
        state: State = .dropped,
        generation: UInt64 = 0,
        activationID: UInt64 = 0,
        activatedFrom: UInt64? = nil,
        arbiter: ArbiterFacts? = nil
    ) {
        self.arbiter = arbiter
        self.state = state
        self.generation = generation
        self.activationID = activationID
        self.activatedFrom = activatedFrom
    }
}

extension StandbyFacts {
    /// What a daemon that starts goes on with, given the image that a guardian kept, if any.
    /// - Returns: the facts, and whether that image is one: durably dropped, or committed and never told to the primary
    ///   (its record comes first), it is not.
    package func adopting(_ image: ImageFacts?) -> (facts: StandbyFacts, keepsImage: Bool) {
        guard let image, state != .active else { return (self, image != nil) }
        if state == .dropped, image.generation <= generation { return (self, false) }
        if state == .crashed { return (self, true) }
        let generation = max(generation, image.generation)
        return (StandbyFacts(state: .image, generation: generation, arbiter: arbiter), true)
    }
}

/// The committed image, as the machine knows it.
package struct ImageFacts: Equatable, Sendable {
    package var generation: UInt64
    package var session: UInt64
    package var epoch: UInt64
    package var aloneAfter: TimeSpan
    package var primaryHost: String
    /// When this side sent the last heartbeat that the primary echoed, boot clock.
    package var lastEchoedBeat: Instant
    /// The guest's output did not wait for its acks (`Hello.unacknowledged`).
    package var unacknowledged: Bool
    /// The guest has a writable disk that nobody replicates (`Hello.hasUnreplicatedDisk`).
    package var hasUnreplicatedDisk: Bool

    package init(
        generation: UInt64,
        session: UInt64,
        epoch: UInt64,
        aloneAfter: TimeSpan,
        primaryHost: String,
        lastEchoedBeat: Instant,
        unacknowledged: Bool = false,
        hasUnreplicatedDisk: Bool = false
    ) {
        self.hasUnreplicatedDisk = hasUnreplicatedDisk
        self.generation = generation
        self.session = session
        self.epoch = epoch
        self.aloneAfter = aloneAfter
        self.primaryHost = primaryHost
        self.lastEchoedBeat = lastEchoedBeat
        self.unacknowledged = unacknowledged
    }
}

/// Whether a new guest fits below the memory ceiling.
package struct MemoryVerdict: Equatable, Sendable {
    package var ceiling: UInt64
    package var used: UInt64
    /// Bytes the guest of the hello needs for its image as populated now.
    package var needed: UInt64

    package init(ceiling: UInt64, used: UInt64, needed: UInt64) {
        self.ceiling = ceiling
        self.used = used
        self.needed = needed
    }

    var fits: Bool { used + needed <= ceiling }
}

/// A connection's number within one daemon.
package typealias ConnectionID = UInt64

/// What happens to a guest's standby.
package enum StandbyEvent: Equatable, Sendable {
    case hello(Hello, MemoryVerdict, on: ConnectionID)
    case received(Message, on: ConnectionID)
    /// An epoch was put together and checked.
    case epochWhole(UInt64, on: ConnectionID)
    /// An epoch, or a frame, that cannot be accepted.
    case violation(String, on: ConnectionID)
    /// This side cannot go on with the session (memory, disk).
    case failure(RefusalReason, String, on: ConnectionID)
    case connectionLost(ConnectionID)
    /// The image is lost, and with it a session that goes on from it.
    case imageLost(String)
    /// Bytes of an epoch came: a primary that sends is not silent, however large its epoch.
    case dataReceived(on: ConnectionID)
    /// This side was busy with an epoch and did not listen: silence counts only while it does.
    case notListening(on: ConnectionID)
    /// An activation that the machine wanted did not come about; `again`: it may still.
    case activationFailed(again: Bool)
    case tick
}

/// What the machine wants done, in order.
package enum StandbyEffect: Equatable, Sendable {
    case send(Message, on: ConnectionID)
    case close(ConnectionID)
    /// Write the facts down, durably, before anything that follows.
    case store(StandbyFacts)
    /// Make a new image for this session and receive epoch 0 into it.
    case beginImage
    /// Receive the epoch after the committed one.
    case continueImage(after: UInt64)
    /// Forget the image that is being received.
    case discardIncoming
    /// Epoch 0 is whole: the incoming image becomes the image, and an older one goes.
    case adoptIncoming
    case seal(epoch: UInt64)
    case apply(epoch: UInt64)
    case dropImage
    case noteEchoedBeat(Instant)
    /// The primary is gone, nobody has said why, and an arbiter can be asked: activate, without waiting for it here.
    case activate
    case report(StandbyReport)
}

/// What an operator should hear about.
package enum StandbyReport: Equatable, Sendable {
    case sessionStarted(host: String, resumedAfter: UInt64?)
    case sessionLost(String)
    case imageCommitted(generation: UInt64)
    case refused(RefusalReason, String)
    case plannedEnd(PlannedEndReason)
}

extension StandbyEvent {
    /// The connection it came on.
    package var connection: ConnectionID? {
        switch self {
        case .hello(_, _, let connection), .received(_, let connection), .epochWhole(_, let connection),
            .violation(_, let connection), .failure(_, _, let connection), .connectionLost(let connection),
            .dataReceived(let connection), .notListening(let connection):
            connection
        case .tick, .imageLost, .activationFailed: nil
        }
    }
}
