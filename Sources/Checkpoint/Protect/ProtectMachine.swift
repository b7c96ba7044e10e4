/// The primary's side of one guest's protection, sans I/O: events and the time come in, effects go out.
///
/// The rules it keeps (design, sections 1 and 3):
/// - no suspend while an epoch is un-acknowledged, so that the plug never has two closed epochs;
/// - the cut is the last act before the resume, and an abandoned checkpoint has never cut;
/// - a release names the epoch the standby acknowledged, or follows a permission: the image was dropped, or
///   `aloneAfter` has passed since the last heartbeat this side echoed and the next generation is durable.
package struct ProtectMachine {
    /// The connection to the standby.
    enum Link: Equatable {
        case down(retryAt: Instant)
        case connecting(since: Instant)
        case handshaking(since: Instant)
        case up
    }

    /// Where the checkpoint loop stands.
    enum Work: Equatable {
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
    enum Authority: Equatable {
        case normal
        /// The next generation is being written down.
        case storingAlone
        case alone
        case outdated
        case splitBrain
    }

    /// A planned end on its way.
    struct Ending: Equatable {
        var reason: PlannedEndReason
        /// True once the first phase was sent on some connection: an answer may have been lost.
        var announcedAt: Instant?
        /// True if the guest is to be protected again afterwards.
        var thenRetry = false
    }

    let settings: ProtectSettings
    var generation: UInt64
    /// The session's number, in every frame's header.
    package internal(set) var session: UInt64

    var link = Link.down(retryAt: Instant(nanoseconds: 0))
    var work = Work.idle
    var authority = Authority.normal
    var ending: Ending?
    /// A higher generation is being written down; no hello goes out before it is.
    var raisingGeneration = false
    var finished = false

    /// The newest epoch the standby acknowledged in this session.
    var committed: UInt64?
    /// The epoch that was cut and is not acknowledged.
    var inFlight: UInt64?
    /// The epoch that runs.
    var epoch: UInt64 = 0
    /// True while output is held, or may be.
    var plugClosed = false
    /// True once this session's standby may have a whole image.
    var standbyMayHaveImage = false
    /// The peer was given up for not acknowledging; its heartbeats are not echoed until it does.
    var peerFailing = false
    /// Pages of the running, or the un-acknowledged, epoch were sent while the guest ran: staging alone cannot repeat
    /// it on a new connection.
    var sentWhileRunning = false
    /// Since when no checkpoint could be made; nil when the last one could.
    var stalledSince: Instant?
    /// When the epoch in flight was first handed to a connection.
    var firstSentAt: Instant?
    /// Since when output has been held for an initial sync to complete, over all attempts.
    var resyncSince: Instant?
    var suspendRefused = false
    /// A standby has taken this guest before.
    var wasWelcomed = false
    /// When a resume that failed is tried again.
    var retryResumeAt: Instant?
    var lastLoss: String?

    var lastHeard = Instant(nanoseconds: 0)
    var aloneBasis = Instant(nanoseconds: 0)
    var nextBeat = Instant(nanoseconds: 0)
    var beatNumber: UInt64 = 0
    var nextSuspend = Instant(nanoseconds: 0)
    var suspendedAt = Instant(nanoseconds: 0)
    var cutAt = Instant(nanoseconds: 0)
    var lastAck: Instant?
    var lastPassage = Instant(nanoseconds: 0)

    /// A machine for a guest whose `generation` is durable here.
    /// - Parameter session: a random, non-zero number; later sessions count up from it.
    package init(settings: ProtectSettings, generation: UInt64, session: UInt64) {
        self.settings = settings
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
        case .start(let plugWasClosed):
            plugClosed = plugWasClosed
            // A predecessor's standby may have echoed its heartbeats until this moment.
            standbyMayHaveImage = plugWasClosed
            aloneBasis = now
            connect(now, &effects)
        case .connected: linkConnected(now, &effects)
        case .linkLost(let loss): linkLost(loss, now, &effects)
        case .received(let message): received(message, now, &effects)
        case .syncRoundSent(let pages): syncRoundSent(pages, now, &effects)
        case .suspendFinished(let outcome): suspendFinished(outcome, now, &effects)
        case .harvested(let result): harvested(result, now, &effects)
        case .cut: wasCut(now, &effects)
        case .resumed: resumed(now, &effects)
        case .generationStored(let stored): generationStored(stored, now, &effects)
        case .failed(let reason): failed(reason, now, &effects)
        case .guestEnded(let end): guestEnded(end, now, &effects)
        case .unprotectRequested: beginEnding(.unprotect, now, &effects)
        case .tick: break
        }
        passTime(now, &effects)
    }

    /// A loop that was late by more than a beat may have missed heartbeats that were there to be read.
    private mutating func noticeLateness(_ now: Instant) {
        let absent = now - lastPassage
        if absent > settings.heartbeat + settings.heartbeat + settings.heartbeat {
            aloneBasis = now
            // Silence counts only while this side listened.
            lastHeard = lastHeard + absent
        }
        lastPassage = now
    }

    /// When `handle(.tick)` must be called at the latest.
    package func nextWake(after now: Instant) -> Instant {
        // Only what `passTime` would act upon: anything else that is due would make the loop spin.
        var wake = now + settings.heartbeat
        switch link {
        case .down(let retryAt): if mayConnect { wake = min(wake, retryAt) }
        case .up:
            wake = min(wake, nextBeat)
            if work == .running, ending == nil, authority == .normal { wake = min(wake, nextSuspend) }
            if work == .inFlight { wake = min(wake, cutAt + settings.maxHold) }
        case .connecting, .handshaking: break
        }
        return max(wake, now)
    }

    // MARK: Time

    private mutating func passTime(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard !finished else { return }
        switch link {
        case .down(let retryAt):
            if now >= retryAt, mayConnect, !inPause { connect(now, &effects) }
        case .connecting(let since), .handshaking(let since):
            if now - since > settings.handshakeTimeout { loseLink(.handshakeTimeout, now, &effects) }
        case .up:
            if now - lastHeard > settings.suspectAfter {
                loseLink(.silence, now, &effects)
            } else if work == .inFlight, now - cutAt > settings.maxHold {
                peerFailing = true
                loseLink(.notAcknowledging, now, &effects)
            } else if let announcedAt = ending?.announcedAt, now - announcedAt > settings.maxHold {
                peerFailing = true
                loseLink(.notAcknowledging, now, &effects)
            } else if case .syncing = work, let resyncSince, now - resyncSince > settings.aloneAfter, ending == nil {
                continueAlone(now, &effects)
            } else if now >= nextBeat {
                beatNumber += 1
                nextBeat = now + settings.heartbeat
                effects.append(.send(.heartbeat(Heartbeat(number: beatNumber, sentAt: now))))
            }
        }
        if case .resuming = work, let at = retryResumeAt, now >= at {
            retryResumeAt = nil
            effects.append(.resume)
        }
        if mayGoAlone(now) {
            // A crashed guest's image stays the newest there is.
            if ending?.reason == .crashed { return finish(.unanswered(.crashed), &effects) }
            authority = .storingAlone
            effects.append(.storeGeneration(generation + 1))
        }
        if work == .running, link == .up, ending == nil, authority == .normal, now >= nextSuspend {
            work = .suspending
            suspendedAt = now
            effects.append(.suspend(deadline: now + settings.suspendTimeout))
        }
    }

    private var mayConnect: Bool {
        switch authority {
        case .outdated, .splitBrain: false
        case .normal, .alone, .storingAlone: !raisingGeneration
        }
    }

    /// `prefer-primary`: nobody could be asked for `aloneAfter`, counted from the last heartbeat this side echoed.
    private func mayGoAlone(_ now: Instant) -> Bool {
        guard authority == .normal, now - aloneBasis >= settings.aloneAfter, !inPause else { return false }
        return link != .up || peerFailing ? plugClosed || ending != nil : false
    }

    /// Between a suspend request and the guest running again.
    var inPause: Bool {
        switch work {
        case .suspending, .harvesting, .cutting, .resuming: true
        case .idle, .syncing, .running, .inFlight: false
        }
    }

    // MARK: The connection

    private mutating func connect(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        link = .connecting(since: now)
        effects.append(.connect)
    }

    private mutating func linkConnected(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        guard case .connecting = link else { return }
        link = .handshaking(since: now)
        lastHeard = now
        effects.append(
            .sendHello(
                generation: generation,
                session: session,
                ackedEpoch: committed,
                imageStillValid: plugClosed
            )
        )
    }

    mutating func loseLink(_ loss: LinkLoss, _ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        effects.append(.disconnect)
        linkLost(loss, now, &effects)
    }

    private mutating func linkLost(
        _ loss: LinkLoss,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        if case .down = link { return }
        if link == .up || lastLoss != loss.text { effects.append(.report(.linkLost(loss.text))) }
        // A peer that takes connections and loses them before the ack, again and again, does not commit either.
        if link == .up, inFlight != nil, let firstSentAt, now - firstSentAt > settings.maxHold { peerFailing = true }
        link = .down(retryAt: now + settings.retry)
        lastLoss = loss.text
        // A checkpoint that is being staged lacks what was sent before: it is dealt with when the guest runs again.
        if work != .harvesting, work != .cutting { requeueSentPages(&effects) }
        // Epoch 0 starts from nothing; a later epoch's pages are simply dirty again.
        if case .syncing = work { work = committed == nil ? .idle : .running }
    }

    /// What was sent while the guest ran, on a connection that is gone and outside any cut epoch, is dirty again.
    mutating func requeueSentPages(_ effects: inout EffectBuffer<ProtectEffect>) {
        guard sentWhileRunning, inFlight == nil, link != .up else { return }
        sentWhileRunning = false
        effects.append(.requeueSentPages)
    }

    // MARK: The peer's messages

    private mutating func received(
        _ message: Message,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        lastHeard = now
        switch (link, message) {
        case (.handshaking, .welcome(let welcome)): welcomed(welcome, now, &effects)
        case (.handshaking, .refuse(let refusal)), (.up, .refuse(let refusal)):
            refused(refusal, now, &effects)
        case (.up, .ack(let acked)): acknowledged(acked, now, &effects)
        case (.up, .heartbeat(let beat)):
            guard !peerFailing else { return }
            aloneBasis = now
            effects.append(.send(.heartbeatEcho(beat)))
        case (.up, .heartbeatEcho): break
        case (.up, .plannedEndAnswer(let answer, let answered)):
            guard ending?.announcedAt != nil, answered == generation + 1 else {
                return loseLink(.violation("an answer to no planned end"), now, &effects)
            }
            endAnswered(answer, now, &effects)
        case (.down, _), (.connecting, _): break
        case (_, let message):
            loseLink(.violation("an unexpected \(message.type) message"), now, &effects)
        }
    }

    private mutating func welcomed(
        _ welcome: Welcome,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard ProtocolVersion.oldest...ProtocolVersion.newest ~= welcome.version else {
            return loseLink(.violation("protocol version \(welcome.version)"), now, &effects)
        }
        link = .up
        wasWelcomed = true
        lastLoss = nil
        nextBeat = now
        if !peerFailing { askAgain(now) }
        effects.append(.report(.linkUp(host: welcome.host)))
        if ending != nil { return announceEnd(now, &effects) }
        guard let theirs = welcome.committedEpoch else { return startOver(welcome, now, &effects) }
        if let inFlight, theirs == inFlight {
            acknowledged(inFlight, now, &effects)
        } else if theirs == committed, inFlight != nil, sentWhileRunning {
            // What was sent while the guest ran cannot be repeated: a new session, while that image stays valid.
            session += 1
            forgetSession(&effects)
            loseLink(.reset("the epoch in flight cannot be repeated"), now, &effects)
        } else if theirs == committed, let inFlight {
            cutAt = now
            firstSentAt = firstSentAt ?? now
            work = .inFlight
            effects.append(.sendEpoch(inFlight))
        } else if theirs == committed {
            work = .running
            nextSuspend = max(now, nextSuspend)
        } else {
            // Its image is none that we know: nothing it says about epochs can be believed.
            session += 1
            forgetSession(&effects)
            loseLink(.violation("it claims epoch \(theirs), which was never sent"), now, &effects)
        }
    }

    /// The standby has nothing of this session: the initial sync.
    private mutating func startOver(
        _ welcome: Welcome,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        forgetSession(&effects)
        if plugClosed, !welcome.keepsOlderImage {
            // There is no image that could be activated, so what was held may go.
            plugClosed = false
            resyncSince = nil
            effects.append(.releaseAll)
            effects.append(.report(.imageDropped))
        } else if plugClosed {
            resyncSince = resyncSince ?? now
            effects.append(.absorb)
        }
        // A new session is judged by itself; the standby counts from its hello.
        peerFailing = false
        aloneBasis = now
        authority = .normal
        work = .syncing(round: 0)
        sentWhileRunning = true
        effects.append(.startTracking)
        effects.append(.report(.syncStarted))
        effects.append(.syncRound(epoch: 0, whole: true))
    }

    private mutating func forgetSession(_ effects: inout EffectBuffer<ProtectEffect>) {
        committed = nil
        inFlight = nil
        epoch = 0
        sentWhileRunning = false
        stalledSince = nil
        firstSentAt = nil
        suspendRefused = false
        work = .idle
        effects.append(.stopTracking)
    }

    private mutating func refused(
        _ refusal: Refusal,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        switch refusal.reason {
        case .active:
            // Alone, or let go by a predecessor of this protect: this history was seen, and so was the other.
            if authority == .alone && refusal.generation <= generation
                || !plugClosed && refusal.generation < generation
            {
                authority = .splitBrain
                effects.append(.report(.splitBrain(generation: refusal.generation)))
                loseLink(.refused(refusal), now, &effects)
                if let ending, !ending.thenRetry { finish(.nothingToDrop(ending.reason), &effects) }
            } else {
                becomeOutdated(refusal, now, &effects)
            }
        case .generationTooLow:
            if ending?.announcedAt != nil, refusal.generation == generation + 1 {
                // The first phase arrived and only its answer was lost; an image that is kept keeps its generation.
                endAnswered(.dropped, now, &effects)
            } else if plugClosed, committed != nil || standbyMayHaveImage {
                becomeOutdated(refusal, now, &effects)
            } else {
                loseLink(.refused(refusal), now, &effects)
                raisingGeneration = true
                effects.append(.storeGeneration(refusal.generation + 1))
            }
        case .noMemory, .noCommonVersion:
            loseLink(.refused(refusal), now, &effects)
            if !plugClosed, !wasWelcomed, ending == nil { finish(.refused(refusal), &effects) }
        case .busy, .violation, .stopping, .failure:
            loseLink(.refused(refusal), now, &effects)
        }
    }

    private mutating func becomeOutdated(
        _ refusal: Refusal,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        authority = .outdated
        work = .idle
        effects.append(.dropAll)
        effects.append(.stopTracking)
        effects.append(.report(.outdated(generation: refusal.generation)))
        loseLink(.refused(refusal), now, &effects)
        if let ending, !ending.thenRetry { return finish(.nothingToDrop(ending.reason), &effects) }
        ending = nil
    }

    private mutating func acknowledged(
        _ acked: UInt64,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard acked == inFlight, work == .inFlight else {
            return loseLink(.violation("an acknowledgement of epoch \(acked)"), now, &effects)
        }
        let first = committed == nil
        committed = acked
        inFlight = nil
        firstSentAt = nil
        resyncSince = nil
        lastAck = now
        peerFailing = false
        sentWhileRunning = false
        askAgain(now)
        work = .running
        nextSuspend = max(now, nextSuspend)
        effects.append(.release(epoch: acked))
        if first { effects.append(.report(.protected)) }
    }

    // MARK: Permission to go alone

    /// There is somebody to ask: the time to go alone begins anew, and a generation that is still being written down
    /// gives no permission any more. Nothing was released on its account.
    private mutating func askAgain(_ now: Instant) {
        aloneBasis = now
        if authority == .storingAlone { authority = .normal }
    }

    private mutating func generationStored(
        _ stored: UInt64,
        _ now: Instant,
        _ effects: inout EffectBuffer<ProtectEffect>
    ) {
        guard authority == .storingAlone else {
            // A store that came too late to matter: the standby answered meanwhile, and this session's number stays.
            if raisingGeneration { generation = stored }
            raisingGeneration = false
            return
        }
        generation = stored
        raisingGeneration = false
        if let ending, !ending.thenRetry {
            // A guest that crashed meanwhile has an image that is the newest: nothing may overtake it.
            if ending.reason != .crashed { effects.append(.releaseAll) }
            return finish(.unanswered(ending.reason), &effects)
        }
        ending = nil
        authority = .alone
        goUnprotected(now, &effects)
        effects.append(.report(.wentAlone(generation: stored)))
    }

    /// Lets the guest run unprotected; the next connection begins a new session.
    mutating func goUnprotected(_ now: Instant, _ effects: inout EffectBuffer<ProtectEffect>) {
        session += 1
        forgetSession(&effects)
        plugClosed = false
        standbyMayHaveImage = false
        peerFailing = false
        resyncSince = nil
        effects.append(.releaseAll)
        if case .down = link { return }
        // A hello with the new session is what tells the peer; one on its way says that output is held.
        effects.append(.disconnect)
        link = .down(retryAt: now + settings.retry)
    }

    mutating func finish(_ result: ProtectResult, _ effects: inout EffectBuffer<ProtectEffect>) {
        finished = true
        if inPause { effects.append(.resume) }
        effects.append(.stopTracking)
        effects.append(.disconnect)
        effects.append(.finish(result))
    }
}
