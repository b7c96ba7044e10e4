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
    /// We do: it has a disk that nobody replicates, and may be running elsewhere.
    package var standsStill: Bool
    /// Output is held for an image at another standby than ours.
    package var imageElsewhere: Bool
    /// How long nobody must have answered before the primary goes on alone.
    package var aloneAfter: TimeSpan
    package var lastLoss: LinkLoss?
    /// When the primary goes on alone, if nothing is heard until then; nil where time permits nothing.
    package var aloneAt: Instant?
    /// The arbiter was asked, and what it was asked is not answered and written down yet.
    package var isAsking: Bool
    /// Why the arbiter's last answer was none.
    package var arbiterTrouble: String?
    /// Only a grant, or somebody's word, gives the guest its output back.
    package var mayContinue: Bool
    /// No record says by which arbiter the image goes that output is held for.
    package var imageUnknown: Bool
    /// From suspend to suspend, as it is chosen now.
    package var interval: TimeSpan
    /// The other copy's generation, in a split.
    package var splitGeneration: UInt64?
}

extension ProtectMachine {
    /// The snapshot.
    package var status: ProtectStatus {
        ProtectStatus(
            state: state,
            // What is asked may have been granted: to this side, so that the standby could not go on with its image.
            protected: state == .protected && asking == nil,
            generation: generation,
            session: session,
            sent: inFlight ?? committed,
            acked: committed,
            lastAck: lastAck,
            plugClosed: plugClosed,
            guestPaused: guestPaused,
            standsStill: standsStill,
            imageElsewhere: imageElsewhere,
            aloneAfter: aloneAfter,
            lastLoss: lastLoss,
            aloneAt: state == .peerLost && settings.arbitration == .preferPrimary
                ? aloneBasis + aloneAfter : nil,
            isAsking: asking != nil,
            arbiterTrouble: arbiterTrouble,
            mayContinue: mayContinue,
            imageUnknown: imageUnknown,
            interval: pace.interval,
            splitGeneration: splitGeneration
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
