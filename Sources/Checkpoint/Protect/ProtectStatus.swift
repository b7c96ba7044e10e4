/// Where a protection stands, in the words of `status`.
package enum ProtectState: String, Equatable, Sendable {
    case starting, connecting, syncing, protected
    case suspendRefused = "suspend-refused"
    case peerLost = "peer-lost"
    case alone, outdated
    case splitBrain = "split-brain"
    case ending, ended
}

/// A snapshot for `status`; strings are made when somebody asks.
package struct ProtectStatus: Equatable, Sendable {
    package var state: ProtectState
    /// An image that is provably the newest is kept up to date, and output waits for it.
    package var protected: Bool
    package var generation: UInt64
    package var session: UInt64
    package var sent: UInt64?
    package var acked: UInt64?
    package var lastAck: Instant?
    package var plugClosed: Bool
    /// Somebody else keeps the guest from running; no checkpoint can be made, and none is needed.
    package var guestPaused: Bool
    /// Output is held for an image at another standby than ours.
    package var imageElsewhere: Bool
    /// How long nobody must have answered before the primary goes on alone.
    package var aloneAfter: TimeSpan
    package var lastLoss: LinkLoss?
    /// When the primary goes on alone, if nothing is heard until then.
    package var aloneAt: Instant?
}

extension ProtectMachine {
    /// The snapshot.
    package var status: ProtectStatus {
        ProtectStatus(
            state: state,
            protected: state == .protected,
            generation: generation,
            session: session,
            sent: inFlight ?? committed,
            acked: committed,
            lastAck: lastAck,
            plugClosed: plugClosed,
            guestPaused: guestPaused,
            imageElsewhere: imageElsewhere,
            aloneAfter: aloneAfter,
            lastLoss: lastLoss,
            aloneAt: state == .peerLost ? aloneBasis + aloneAfter : nil
        )
    }

    private var state: ProtectState {
        if finished { return .ended }
        switch authority {
        case .outdated: return .outdated
        case .splitBrain: return .splitBrain
        case .alone: return .alone
        case .normal, .storingAlone: break
        }
        if ending != nil { return .ending }
        if suspendRefused { return .suspendRefused }
        if committed != nil { return link == .up ? .protected : .peerLost }
        if plugClosed, link != .up { return .peerLost }
        switch work {
        case .idle: return link == .up ? .starting : .connecting
        default: return link == .up ? .syncing : .connecting
        }
    }
}
