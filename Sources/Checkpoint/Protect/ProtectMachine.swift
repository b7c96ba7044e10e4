/// The primary's side of one guest's protection, sans I/O: events and the time come in, effects go out.
///
/// The rules it keeps (design, sections 1 and 3):
/// - no suspend while an epoch is un-acknowledged, so that the plug never has two closed epochs;
/// - the cut is the last act before the resume, and an abandoned checkpoint has never cut;
/// - a release names the epoch the standby acknowledged, or follows a permission: the image was dropped; or the next
///   generation is durable, and either an arbiter granted it, or somebody vouched, or, where nobody can be asked,
///   `aloneAfter` has passed since the last heartbeat this side echoed.
package struct ProtectMachine {
    /// The connection to the standby.
    package enum Link: Equatable {
        case down(retryAt: Instant)
        case connecting(since: Instant)
        case handshaking(since: Instant)
        case up
    }

    /// Where the checkpoint loop stands.
    package enum Work: Equatable {
        /// No session: nothing is tracked.
        case idle
        /// Pages are sent while the guest runs; `round` counts from 0.
        case syncing(round: Int)
        /// Between the acknowledgement of one epoch and the suspend of the next.
        case running
        case suspending, harvesting, cutting
        case resuming(thenSend: Bool)
        /// The guest runs, `inFlight` is not acknowledged.
        case inFlight
    }

    /// Whether output may be released without the standby.
    package enum Authority: Equatable {
        case normal
        /// The next generation is being written down.
        case storingAlone
        case alone
        case outdated
        case splitBrain
    }

    /// A planned end on its way.
    package struct Ending: Equatable {
        var reason: PlannedEndReason
        /// True once the first phase was sent on some connection: an answer may have been lost.
        var announcedAt: Instant?
        /// True if the guest is to be protected again afterwards.
        package internal(set) var thenRetry = false
    }

    let settings: ProtectSettings
    var generation: UInt64
    /// The session's number, in every frame's header.
    package internal(set) var session: UInt64

    package internal(set) var link = Link.down(retryAt: Instant(nanoseconds: 0))
    package internal(set) var work = Work.idle
    package internal(set) var authority = Authority.normal
    package internal(set) var ending: Ending?
    /// A higher generation is being written down; no hello goes out before it is.
    var raisingGeneration = false
    package internal(set) var finished = false
    package internal(set) var asking: Asking?
    /// Why the arbiter's last answer was none.
    var arbiterTrouble: String?
    /// Somebody vouched that the standby is off.
    var isContinued = false
    /// The other copy's generation, while there is a split.
    var splitGeneration: UInt64?

    /// The newest epoch the standby acknowledged in this session.
    var committed: UInt64?
    /// The epoch that was cut and is not acknowledged.
    var inFlight: UInt64?
    /// The epoch that runs.
    var epoch: UInt64 = 0
    /// True while output is held, or may be.
    var plugClosed = false
    /// Output is held for an image at another standby, which ours knows nothing about.
    var imageElsewhere = false
    /// It is held, and nobody knows by which arbiter that image goes.
    var imageUnknown = false
    /// The connection was lost to silence, not to an end of the other process.
    var wasSilent = false
    /// The alone-after that a predecessor's image trusts, while there may be one and that is longer than ours.
    var olderAloneAfter: TimeSpan?
    /// The durable record says a longer alone-after than ours.
    var recordIsLonger = false
    /// True once this session's standby may have a whole image.
    var standbyMayHaveImage = false
    /// The peer was given up for not acknowledging; its heartbeats are not echoed until it does.
    var peerFailing = false
    /// Pages of the running, or the un-acknowledged, epoch were sent while the guest ran: staging alone cannot repeat
    /// it on a new connection.
    var sentWhileRunning = false
    /// Since when no checkpoint could be made; nil when the last one could.
    var stalledSince: Instant?
    /// When the epoch that the peer has not acknowledged was first handed to a connection; it may have been taken back since.
    var firstSentAt: Instant?
    /// Since when output has been held for an initial sync to complete, over all attempts.
    var resyncSince: Instant?
    var suspendRefused = false
    /// Somebody else keeps the guest from running.
    var guestPaused = false
    /// We do, as it may be running elsewhere.
    package internal(set) var standsStill = false
    /// Since the standby was lost, or before this protect began, it may have been given the guest.
    var mayBeOvertaken = false
    /// A standby has taken this guest before.
    var wasWelcomed = false
    /// When a resume that failed is tried again.
    var retryResumeAt: Instant?
    var lastLoss: LinkLoss?

    var lastHeard = Instant(nanoseconds: 0)
    var aloneBasis = Instant(nanoseconds: 0)
    var nextBeat = Instant(nanoseconds: 0)
    var beatNumber: UInt64 = 0
    var nextSuspend = Instant(nanoseconds: 0)
    /// More than half of what may be held is held.
    var outputIsFilling = false
    /// How long epochs last.
    var pace: IntervalPolicy
    /// Since the last suspend as many pages are dirty as an epoch may have.
    var budgetIsUsed = false
    var nextCount = Instant(nanoseconds: 0)
    /// What the epoch in flight was like; nil where its acknowledgement says nothing about the link.
    var measured: IntervalPolicy.Epoch?
    /// Pages of the epoch that was staged last.
    package internal(set) var stagedPages = 0
    var resumedAt = Instant(nanoseconds: 0)
    var cutAt = Instant(nanoseconds: 0)
    /// Since when the guest is suspended, or asked to; or when it was last.
    var suspendedAt = Instant(nanoseconds: 0)
    /// When the epoch in flight was last cut, begun to be sent, or moved on.
    var movedAt = Instant(nanoseconds: 0)
    /// When it was handed to this connection.
    var sentAt = Instant(nanoseconds: 0)
    var lastAck: Instant?
    var lastPassage = Instant(nanoseconds: 0)

    /// A machine for a guest whose `generation` is durable here.
    /// - Parameter session: a random, non-zero number; later sessions count up from it.
    package init(settings: ProtectSettings, generation: UInt64, session: UInt64) {
        self.settings = settings
        pace = settings.pace
        self.generation = generation
        self.session = session
    }

    /// Takes one event at time `now` and appends what has to be done.
    package mutating func handle(
        _ event: ProtectEvent,
        at now: Instant,
        into effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard !finished else { return }
        noticeLateness(now)
        switch event {
        case .start(let plugWasClosed, let elsewhere, let recordedAloneAfter, let outdatedBy, let isUnknown):
            if plugWasClosed { takeOver(imageElsewhere: elsewhere, isUnknown, recordedAloneAfter) }
            if let outdatedBy { stayOutdated(by: outdatedBy, &effects) }
            settleStandstill(&effects)
            // A predecessor may have echoed its standby's heartbeats until this moment.
            (aloneBasis, lastHeard) = (now, now)
            if settings.arbitration.decides, authority == .normal, !imageUnknown {
                raisingGeneration = true
                // The image elsewhere is of an older generation: it may not be activated any more.
                ask(imageElsewhere ? .alone : .raise, for: generation + 1, &effects)
            }
            if mayConnect { connect(now, &effects) }
        case .connected: linkConnected(now, &effects)
        case .linkLost(let loss): linkLost(loss, now, &effects)
        case .received(let message): received(message, now, &effects)
        case .syncRoundSent(let pages): syncRoundSent(pages, now, &effects)
        case .suspendFinished(let outcome, let since):
            suspendFinished(outcome, since: since ?? now, now, &effects)
        case .harvested(let result): harvested(result, now, &effects)
        case .cut: wasCut(now, &effects)
        case .resumed: resumed(now, &effects)
        case .epochAdvanced: movedAt = now
        case .sweepWanted: sweepWanted(now, &effects)
        case .resumeFailed(let reason): resumeFailed(reason, now, &effects)
        case .generationStored(let stored): generationStored(stored, now, &effects)
        case .wishStored(let request): wishStored(request, &effects)
        case .arbiterAnswered(let answer): arbiterAnswered(answer)
        case .continueRequested: isContinued = mayContinue
        case .resolveRequested(let keepsThis): resolve(keepsThis: keepsThis, now, &effects)
        case .failed(let reason): failed(reason, now, &effects)
        case .trackingLost(let reason, let inSuspend):
            trackingLost(reason, mayBeSuspended: inSuspend || workIsInPause, now, &effects)
        case .guestEnded(let end): guestEnded(end, now, &effects)
        case .unprotectRequested: beginEnding(.unprotect, now, &effects)
        case .outputFilling(let isFilling): outputIsFilling = isFilling
        case .dirtied(let pages): dirtied(pages, now)
        case .tick: break
        }
        passTime(now, &effects)
    }

    /// A loop that was late by more than a beat may have missed heartbeats that were there to be read. It comes round
    /// once a beat at least, so it was late by more than one if it was away for more than two.
    private mutating func noticeLateness(_ now: Instant) {
        let absent = now - lastPassage
        if absent > settings.heartbeat + settings.heartbeat {
            aloneBasis = now
            // Silence counts only while this side listened.
            lastHeard = lastHeard + absent
            movedAt = movedAt + absent
        }
        lastPassage = now
    }

    /// When `handle(.tick)` must be called at the latest.
    package func nextWake(after now: Instant) -> Instant {
        // Only what `passTime` would act upon: anything else that is due would make the loop spin.
        var wake = now + settings.heartbeat
        switch link {
        case .down(let retryAt): if mayConnect, !inPause { wake = min(wake, retryAt) }
        case .up:
            wake = min(wake, nextBeat)
            if maySuspend { wake = min(wake, suspendDue) }
            if work == .inFlight { wake = min(wake, movedAt + settings.maxHold) }
        case .connecting, .handshaking: break
        }
        if let retryResumeAt { wake = min(wake, retryResumeAt) }
        return max(wake, now)
    }

    // MARK: Time

    private mutating func passTime(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard !finished else { return }
        // Copying and cutting are answered at once, and nothing comes between them and the resume.
        if work == .harvesting || work == .cutting { return }
        switch link {
        case .down(let retryAt):
            if now >= retryAt, mayConnect, !inPause { connect(now, &effects) }
        case .connecting(let since):
            if now - since > settings.connectTimeout {
                loseLink(.connectFailed("the standby's host does not answer"), now, &effects)
            }
        case .handshaking(let since):
            // It may have to find room for the image first, and a domain. Asking again would make it begin again; but the
            // time to go alone runs meanwhile, and what was asked may be lost.
            if now - since > max(settings.connectTimeout, aloneAfter.percent(50)) {
                loseLink(.handshakeTimeout, now, &effects)
            }
        case .up:
            if now - lastHeard > settings.suspectAfter {
                loseLink(.silence, now, &effects)
            } else if work == .inFlight, now - movedAt > settings.maxHold {
                peerFailing = true
                loseLink(.notAcknowledging, now, &effects)
            } else if work == .inFlight, now - sentAt > aloneAfter, ending == nil {
                // It moves, and would hold output for too long: to send it again would take as long again.
                continueAlone(now, &effects)
            } else if let announcedAt = ending?.announcedAt, now - announcedAt > settings.maxHold {
                peerFailing = true
                loseLink(.notAcknowledging, now, &effects)
            } else if case .syncing = work, let resyncSince, now - resyncSince > aloneAfter,
                ending == nil
            {
                continueAlone(now, &effects)
            } else if now >= nextBeat {
                beatNumber += 1
                nextBeat = now + settings.heartbeat
                effects.append(.send(.heartbeat(Heartbeat(number: beatNumber, sentAt: now))))
            }
        }
        if let at = retryResumeAt, now >= at {
            retryResumeAt = now + settings.retry
            effects.append(.resume)
        }
        passArbiterTime(now, &effects)
        passContinuation(&effects)
        guard !finished else { return }
        let isLeftAlone = isLeftAlone(now)
        if isLeftAlone, ending?.reason == .crashed {
            // Its image stays the newest there is.
            return finish(.unanswered(.crashed), &effects)
        }
        if isLeftAlone || isCutOff(now) {
            noteOvertaking(&effects)
            if asking == nil { wantsAlone(&effects) }
        }
        settleStandstill(&effects)
        if maySuspend, now >= suspendDue {
            work = .suspending
            // One that is put off for a sweep is due when that is done.
            (suspendedAt, nextSuspend) = (now, min(nextSuspend, now))
            effects.append(.suspend(deadline: now + settings.suspendTimeout))
        }
    }

    /// When the guest is suspended next. While output fills what may be held, after a quarter of the interval; where the epoch's
    /// budget is used up, as soon as may be: but not sooner than planned where the last attempt came to nothing.
    private var suspendDue: Instant {
        guard stalledSince == nil, !suspendRefused, !guestPaused else { return nextSuspend }
        var due = nextSuspend
        if outputIsFilling { due = min(due, suspendedAt + pace.shortened) }
        if budgetIsUsed { due = min(due, suspendedAt + pace.soonest) }
        return due
    }

    private var maySuspend: Bool {
        work == .running && link == .up && ending == nil && authority == .normal && !inPause && !standsStill
    }

    /// The image elsewhere is asked nothing by us: only time makes output, and a new session, permissible.
    var mayConnect: Bool {
        if imageElsewhere { return false }
        switch authority {
        case .outdated, .splitBrain: return false
        case .normal, .alone, .storingAlone: return !raisingGeneration
        }
    }

    /// Between a suspend request and the guest running again, whatever became of the checkpoint meanwhile.
    var inPause: Bool { retryResumeAt != nil || workIsInPause }

    /// The part of a pause that the checkpoint loop knows of.
    var workIsInPause: Bool {
        switch work {
        case .suspending, .harvesting, .cutting, .resuming: true
        case .idle, .syncing, .running, .inFlight: false
        }
    }
}
