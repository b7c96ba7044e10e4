/// How the copying of a checkpoint ended.
package enum HarvestResult: Equatable, Sendable {
    /// All dirty pages and the state are in staging.
    case whole(pages: Int)
    /// The longest pause was over first.
    case late
    /// The dirty pages do not fit into staging.
    case overCapacity(pages: Int)
    case failed(String)
    /// What is dirty is no longer known (`GuestError.voidsTracking`).
    case trackingLost(String)
}

/// Why a connection is gone.
package enum LinkLoss: Equatable, Sendable {
    case connectFailed(String)
    case reset(String)
    case silence
    case notAcknowledging
    case handshakeTimeout
    case violation(String)
    case refused(Refusal)

    /// For people.
    package var text: String {
        switch self {
        case .connectFailed(let reason): reason
        case .reset(let reason): "connection lost: \(reason)"
        case .silence: "the standby went silent"
        case .notAcknowledging: "the standby does not acknowledge"
        case .handshakeTimeout: "the standby accepted the connection but did not answer"
        case .violation(let reason): "the standby broke the protocol: \(reason)"
        case .refused(let refusal): "the standby refused: \(refusal.text)"
        }
    }
}

/// What happens to a protection, from outside the machine. Each comes with the time.
package enum ProtectEvent: Equatable, Sendable {
    /// The beginning; `plugWasClosed` if a predecessor's output is still held. Then `imageElsewhere` says that the
    /// image it is held for is, or may be, at another standby than ours, and `recordedAloneAfter` is the longest
    /// alone-after that an image may trust. `outdatedBy`: this copy may not run any more, that generation does.
    /// `isUnknown`: no record says whose image it is; no arbiter can speak for that.
    case start(
        plugWasClosed: Bool,
        imageElsewhere: Bool = false,
        recordedAloneAfter: TimeSpan? = nil,
        outdatedBy: UInt64? = nil,
        isUnknown: Bool = false
    )
    case connected
    case linkLost(LinkLoss)
    case received(Message)
    /// The pages of a sync round were sent.
    case syncRoundSent(pages: Int)
    /// `since`: when the guest stopped, if that was before this event.
    case suspendFinished(SuspendOutcome, since: Instant? = nil)
    case harvested(HarvestResult)
    case cut
    case resumed
    /// More of an epoch came to the host of the standby.
    case epochAdvanced
    /// Instead of a suspend: so much became dirty at once that it is to be sent while the guest runs.
    case sweepWanted
    /// The guest may be suspended still.
    case resumeFailed(String)
    case generationStored(UInt64)
    /// What is to be asked of the arbiter is durable here.
    case wishStored(GrantRequest)
    /// What came of the last `askArbiter`.
    case arbiterAnswered(GrantAnswer)
    /// Somebody vouches that the standby is off, or cut off, and will not be activated.
    case continueRequested
    /// After a split, somebody says which copy is kept.
    case resolveRequested(keepsThis: Bool)
    /// The hypervisor failed an effect other than `resume`, or the plug a cut. Releases are the engine's to repeat.
    case failed(String)
    /// What is dirty is no longer known (`GuestError.voidsTracking`). `inSuspend`: it came of a suspend request, so the
    /// guest may be suspended whatever the machine knows.
    case trackingLost(String, inSuspend: Bool = false)
    case guestEnded(GuestEnd)
    case unprotectRequested
    /// More than half of what may be held is held, or no longer: while it is, epochs are shorter.
    case outputFilling(Bool)
    /// So many pages are dirty since the last suspend: the answer to `nextLook`.
    case dirtied(pages: Int)
    /// Only time passed.
    case tick
}

/// How a protection ended.
package enum ProtectResult: Equatable, Sendable {
    /// The standby answered; its image is dropped or, after a crash, kept.
    case ended(PlannedEndReason, PlannedEndAnswer)
    /// There was no image to drop.
    case nothingToDrop(PlannedEndReason)
    /// This copy may not run any more, the guest is active elsewhere: what it says stays dropped.
    case outdated(PlannedEndReason)
    /// The standby did not answer for `aloneAfter`: its image is outdated by our generation.
    case unanswered(PlannedEndReason)
    /// Somebody else was granted the guest, and nothing is held here.
    case denied(GrantRecord)
    /// The arbiter did not answer before anything was begun.
    case noGrant(String)
    /// The standby will not have this guest, and never had.
    case refused(Refusal)
    /// The guest cannot be protected.
    case failed(String)
}

/// What the machine wants done, in order.
package enum ProtectEffect: Equatable, Sendable {
    case connect
    case disconnect
    /// Say hello for `session`; the rest of a hello is the caller's knowledge.
    case sendHello(generation: UInt64, session: UInt64, ackedEpoch: UInt64?, imageStillValid: Bool)
    case send(Message)

    case startTracking
    case stopTracking
    /// Send the dirty pages while the guest runs; with `whole`, begin a new stream and send all of memory.
    case syncRound(epoch: UInt64, whole: Bool)
    /// The connection broke: what was sent without being committed is dirty again, and a round on its way ends.
    case requeueSentPages

    case suspend(deadline: Instant)
    case harvest(epoch: UInt64, deadline: Instant)
    case cut(epoch: UInt64)
    case resume
    case sendEpoch(UInt64)

    /// Keep the guest from running, whatever else keeps it too. Nothing is asked of the arbiter before it stands still.
    case pauseGuest
    /// Take that back.
    case unpauseGuest

    case release(epoch: UInt64)
    /// All output held so far belongs to the next epoch that is cut.
    case absorb
    case releaseAll
    case dropAll
    /// Write down, durably, that this host has `generation`.
    case storeGeneration(UInt64)
    /// Write down, durably, that this generation is wished for, with a random id; or find the wish that is unanswered.
    case storeWish(generation: UInt64)
    /// Ask the arbiter, without waiting for it.
    case askArbiter(GrantRequest)
    /// Write down, durably, that this was granted, as `storeGeneration` does.
    case storeGrant(GrantRecord)
    /// The same as `storeGeneration`, by somebody's word instead of the arbiter's.
    case storeContinuation(UInt64)
    /// This copy is kept, by somebody's word; the one of that generation is not.
    case storePrevailing(over: UInt64)
    /// Write down, durably, that no image trusts a longer alone-after than ours any more.
    case storeAloneAfter
    /// Write down, durably, that this copy may not run any more: a standby runs `generation`.
    case storeOutdated(by: UInt64)
    case report(ProtectReport)
    case finish(ProtectResult)
}

/// What an operator should hear about.
package enum ProtectReport: Equatable, Sendable {
    case linkUp(host: String)
    case linkLost(LinkLoss)
    case syncStarted
    case protected
    case checkpointAbandoned(epoch: UInt64, String)
    case suspendRefused
    case operationFailed(String)
    /// All of memory has to be sent again.
    case trackingLost(String)
    case wentAlone(generation: UInt64)
    case imageDropped
    case outdated(generation: UInt64)
    case splitBrain(generation: UInt64)
    case arbiterDenied(GrantRecord)
    case arbiterUnanswered(String)
}
